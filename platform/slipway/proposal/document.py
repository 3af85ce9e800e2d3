"""The parts of a document, in whatever format it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway.errors import UserError


@dataclass(frozen=True)
class Heading:
    """A heading, which begins a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of texts. The first column is left-aligned; with `numbers`, the others are right-aligned."""

    head: Sequence[str]
    """Empty: the rows are pairs of a name and its value."""
    rows: Sequence[Sequence[str]]
    numbers: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture (PNG)."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Gap:
    """A piece of text that only the applicant can supply. `name` is its key in a file of answers."""

    number: int
    name: str
    what: str


Block = Heading | Paragraph | Table | Figure | Gap


@dataclass
class Document:
    """A title and its blocks in order; gaps that an answer fills become paragraphs."""

    title: str
    answers: Mapping[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    """Names of all gaps, filled or not."""

    @property
    def gaps(self) -> list[Gap]:
        """The gaps that no answer has filled."""
        return [block for block in self.blocks if isinstance(block, Gap)]

    def add(self, *blocks: Block) -> None:
        """Append blocks to the document."""
        self.blocks += blocks

    def ask(self, name: str, what: str) -> None:
        """Append the answer of this name, or a gap if there is none."""
        self.known.add(name)
        answer = self.answers.get(name)
        self.add(Paragraph(answer) if answer else Gap(len(self.gaps) + 1, name, what))

    def check_answers(self, path: Path) -> None:
        """Raise UserError if an answer belongs to no gap; path: the file of answers, for the message."""
        for name in self.answers:
            if name not in self.known:
                raise UserError(
                    path, f"{name} is not one of the proposal's gaps", use=", ".join(sorted(self.known))
                )
