"""The types of a verb, an option and an argument. Plain data: importing the table costs next to nothing."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple


class Option(NamedTuple):
    """An option of a verb or of one of its actions."""

    name: str
    """The name as it is typed: `--dry-run`; or the beginning of a word, `to=`, for a verb that takes a run."""
    help: str
    """The help text: what it does, and its default."""
    value: str = ""
    """The placeholder for its value in the help; empty for a switch."""
    read: Callable[[str], Any] = str
    """A function from the typed text to the value; raises argparse.ArgumentTypeError or ValueError."""
    default: Any = None
    choices: tuple[str, ...] = ()
    short: str = ""
    """A second spelling: `-f`."""
    many: bool = False
    """Whether it may be repeated: each is read as a list, and the value is all of them in one."""
    effect: Literal["", "acts", "answers"] = ""
    """The kind of command that it makes: one that acts, or one whose output is an answer, perhaps for a program.

    While a command acts, output that nobody can take is no reason to stop; the output of an answer is all there is.
    """

    @property
    def key(self) -> str:
        """The attribute of the parsed options that holds its value."""
        return self.name.strip("-=").replace("-", "_")

    @property
    def is_word(self) -> bool:
        """Whether it is given as `NAME=VALUE`, as overrides are."""
        return self.name.endswith("=")

    @property
    def shown(self) -> str:
        """The option as it is typed, for people: `--step N`, `to=FOLDER`."""
        return f"{self.name}{'' if self.is_word else ' '}{self.value}".rstrip()


class Argument(NamedTuple):
    """The words after the options that are not overrides of a configuration."""

    key: str
    """The attribute of the parsed options: one word (or None) if `most` is 1, else a list."""
    shown: str
    """The placeholder in the help: `NAME|DIR`."""
    least: int = 1
    most: int | None = 1
    """The most words; None: any number."""
    text: bool = False
    """Whether it is text: words of the form `KEY=VALUE` are part of it, except `run.dir=DIR`."""
    group: str = ""
    """The group of the configuration whose choices are its values; empty: none."""


class Verb(NamedTuple):
    """A verb, or one of a verb's actions: `build` of `slipway image build`."""

    summary: str
    options: tuple[Option, ...] = ()
    argument: Argument | None = None
    actions: Mapping[str, "Verb"] = {}
    alone: str = ""
    """The summary of the verb without any of its actions; empty: one must be named."""
    takes: Literal["", "configuration", "overrides", "run"] = ""
    """`configuration`: Hydra's overrides and options, composed before the verb runs; `overrides`: it composes them;
    `run`: run.dir=DIR, whose plan.json is the configuration, as `run_dir` of the parsed options."""
    acts: bool = False
    """Whether it does something, rather than answering a question."""
    notes: Callable[[], str] | None = None
    """More text for its help."""
    module: str = ""
    """The module of its function `run`, below `slipway`; empty: VERB.command."""
    examples: str = ""
