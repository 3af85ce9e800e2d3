"""Command lines whose mistakes are one line, as all of slipway's are."""

import argparse
from typing import Never

from slipway.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse's, with UserError in place of its usage and exit."""

    def error(self, message: str) -> Never:
        """Raise UserError."""
        raise UserError(f"{self.prog.removeprefix('slipway ')}: {message}")
