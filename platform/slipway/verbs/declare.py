"""What a verb, an option and an argument are. Plain data: importing the table costs next to nothing."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple


class Option(NamedTuple):
    """An option of a verb or of one of its actions."""

    name: str
    """As it is typed: `--dry-run`; or the beginning of a word, `to=`, for a verb that takes a run."""
    help: str
    """What it does; states the default."""
    value: str = ""
    """What stands for its value in the help; empty for a switch."""
    read: Callable[[str], Any] = str
    """Turns the typed text into the value; raises argparse.ArgumentTypeError or ValueError."""
    default: Any = None
    choices: tuple[str, ...] = ()
    short: str = ""
    """A second spelling: `-f`."""
    many: bool = False
    """Whether it may be given again: what is read of each is a list, and the value is all of them in one."""
    effect: Literal["", "acts", "answers"] = ""
    """What its presence makes of the command: one that acts, or one whose output is an answer, perhaps for a program.

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
        """How it is typed, for people: `--step N`, `to=FOLDER`."""
        return f"{self.name}{'' if self.is_word else ' '}{self.value}".rstrip()


class Argument(NamedTuple):
    """The words after the options that are not overrides of a configuration."""

    key: str
    """The attribute of the parsed options: one word (or None) where `most` is 1, else a list."""
    shown: str
    """What stands for it in the help: `NAME|DIR`."""
    least: int = 1
    most: int | None = 1
    """None: any number."""
    text: bool = False
    """Whether it is text: words of the form `KEY=VALUE` are part of it, but for `run.dir=DIR`."""
    group: str = ""
    """The group of the configuration whose choices are its values; empty where there is none."""


class Verb(NamedTuple):
    """A verb, or one of a verb's actions: `build` of `slipway image build`."""

    summary: str
    options: tuple[Option, ...] = ()
    argument: Argument | None = None
    actions: Mapping[str, "Verb"] = {}
    alone: str = ""
    """What the verb does without any of its actions; empty where one must be named."""
    takes: Literal["", "configuration", "overrides", "run"] = ""
    """`configuration`: Hydra's overrides and options, composed before the verb runs; `overrides`: it composes them;
    `run`: run.dir=DIR, whose plan.json is the configuration, as `run_dir` of the parsed options."""
    acts: bool = False
    """Whether it does something, rather than answer a question."""
    notes: Callable[[], str] | None = None
    """More text for its help."""
    module: str = ""
    """Where its function `run` is, below `slipway`; empty: VERB.command."""
    examples: str = ""
