"""The `console` blocks of the documentation, as commands and the output that is shown for them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *("README.md", "CONTRIBUTING.md", "containers/README.md", "deploy/kubernetes/README.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
_SEPARATORS = (";", "&&", "||", "|", "&")


@dataclass
class Command:
    """One program with its words, as a shell would start it."""

    where: str
    words: list[str]
    files: list[str] = field(default_factory=list)
    """Files that its output is redirected into."""
    shown: list[str] = field(default_factory=list)
    """The output that the document shows below it."""


@dataclass
class Block:
    """The commands of one block, in order."""

    where: str
    commands: list[Command]


def files(document: str) -> dict[str, str]:
    """Return what a document has its reader write, by path: blocks with a title."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, re.DOTALL | re.MULTILINE))


def blocks(document: str) -> list[Block]:
    """All `console` blocks of a document; `where` is its path and the line that they begin in."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    found, opened = [], None
    for number, line in enumerate(lines, start=1):
        if opened is not None and line.startswith("```"):
            found.append(
                Block(f"{document}:{opened}", list(_commands(document, opened, lines[opened : number - 1])))
            )
            opened = None
        elif line.startswith("```console"):
            opened = number
    return found


def _commands(document: str, first: int, lines: list[str]) -> Iterator[Command]:
    latest: Command | None = None
    number = 0
    while number < len(lines):
        where, line = f"{document}:{first + number + 1}", lines[number]
        number += 1
        if not line.startswith("$ "):
            assert latest is not None, f"{where}: output before any command"
            latest.shown.append(line)
            continue
        text = line.removeprefix("$ ")
        while re.search(r"\\$", text):
            text = f"{text[:-1]} {lines[number]}"
            number += 1
        for latest in split(where, text):
            yield latest


def split(where: str, text: str) -> list[Command]:
    """The commands of a line of a shell; comments are left out."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    commands, words = [Command(where, [])], iter(reader)
    for word in words:
        if word in _SEPARATORS:
            commands.append(Command(where, []))
        elif word == ">":
            commands[-1].files.append(next(words))
        elif word != "<":
            commands[-1].words.append(word)
    return [command for command in commands if command.words]
