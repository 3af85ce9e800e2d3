"""The templates in deploy/: `slipway/deploy` of a wheel, else `deploy` of the checkout."""

import re
import shlex
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.shipped import shipped

if TYPE_CHECKING:
    from jinja2 import Template


def deploy_dir() -> Path:
    """Return the directory of the templates for schedulers."""
    return shipped("deploy", "slurm")


TRAIN = ("train",)
"""The verb that jobs run by default: the words after `slipway`, before `--plan FILE`."""
WIDTH = 106  # columns of folded lines: the first one begins with other words


@cache
def template(name: str) -> "Template":
    """Return a shell template that refuses undefined names.

    Its filter `quote` makes one shell word of any text, `fold` breaks words into lines.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(deploy_dir()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # shell, not HTML: each value goes through quote
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    environment.filters["fold"] = fold
    return environment.get_template(name)


@cache
def variables(name: str) -> frozenset[str]:
    """Return the names that a shell template assigns or reads: a profile's variables must not be among them."""
    text = (deploy_dir() / name).read_text(encoding="utf-8")
    given = re.findall(r"(?m)^\s*(?:(?:local|export|for|read -r) )?([A-Za-z_]\w*)(?==| in )", text)
    return frozenset([*given, *re.findall(r"\$\{?([A-Za-z_]\w*)", text)])


def fold(words: Sequence[str], indent: int, between: str = " ") -> str:
    """Return shell words on lines of bounded length, indented to go on from what a template has on the first line."""
    lines = textwrap.wrap(between.join(words), WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return (" \\\n" + " " * indent).join(lines)
