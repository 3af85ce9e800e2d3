"""Command lines whose mistakes are reported in one line, as all of slipway's are."""

import argparse
import re
from typing import Never

from slipway.errors import UserError


class Parser(argparse.ArgumentParser):
    """The parser of argparse, with UserError in place of its usage and exit."""

    def error(self, message: str) -> Never:
        """Raise argparse's message as a UserError; never return."""
        raise refusal(self.prog.removeprefix("slipway "), message)


def refusal(verb: str, message: str) -> UserError:
    """Return argparse's message as a UserError whose path is the verb with the option that it is about."""
    if named := re.match(r"argument (\S+?)(?:/\S+)?: (.*)", message, re.DOTALL):
        return UserError(f"{verb} {named[1]}".strip(), named[2])
    if unknown := re.match(r"unrecognized arguments: (.*)", message, re.DOTALL):
        return UserError(
            f"{verb} {unknown[1]}".strip(),
            "no such option",
            do=f"omit it; `slipway {verb} --help` lists the options",
        )
    return UserError(verb or "command line", message)
