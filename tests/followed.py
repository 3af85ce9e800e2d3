"""Follow a page of the documentation word by word: its commands in one shell, what they print beside what it shows.

    page = Page("docs/start/laptop.md")
    page.follow(folder, environment)        # raises AssertionError where the page and the machine differ

Every `console` block is run, in order, in one shell: its folder and its variables last from block to block. A block
with a title (```yaml title="sites/cluster/mine.yaml") is a file that the reader writes; blocks of any other kind are
only read. A command has to exit with code 0, except where the next one is `echo $?`.

Below a command stands what it prints. `...` on a line of its own stands for any number of lines. Words have to be the
same; numbers have to agree within 2%, so that another CPU's last digits do not count, except where a unit of time,
rate, power or memory follows, which are the machine's own (31 s, or 1 min 44 s on a busier one). Dates, checksums and runs
of spaces and rules do not count either. `<!-- varies: REGEX -->` names more of a page that no two runs share, a job's
number for example. The home of the shell is shown as /home/you.

`<!-- picture: runs/demo/loss.png -->` before a picture says which file of the run it is; the run has to leave one.

SLIPWAY_UPDATE_GOLDENS=1 writes what is printed into the page (in place of lines that have the same words, otherwise
all of it, to be shortened by hand), and copies the pictures, 1,000 pixels wide at most and in 64 colours.
"""

import functools
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from console_blocks import ROOT

UPDATE = os.environ.get("SLIPWAY_UPDATE_GOLDENS") == "1"
HOME = "/home/you"
NEAR = 0.02
_DATE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?|\b\d\d:\d\d:\d\d\b"
_CHECKSUM = r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b(?!\.\d)"
_MACHINES = (
    r"(?:[mµun]?s(?:/step)?|min(?:utes?)?|h|hours?|d|days?|seconds?|%|[kMGT]?i?B(?:/s)?|[kM]?Wh|W|J"
    r"|[TGM]?FLOP/s(?:/device)?|\w+/s)"
)
_ONE_UNIT = {r"[mµun]?s|min|h|d": "s", r"[kMGT]?i?B": "B", r"[TGM]FLOP/s": "FLOP/s"}
"""Units that the machine's speed decides between, and the one that stands for them."""
_NUMBER = rf"(?<![\w.])([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(\s?{_MACHINES}(?![\w/]))?"


@dataclass
class Step:
    """One command of a page, or a file that it has its reader write."""

    line: int
    """The line of the page that it begins in, from 0."""
    command: str = ""
    shown: list[str] = field(default_factory=list)
    path: str = ""
    content: str = ""


class Page:
    """A page of docs/ whose commands are to be run."""

    def __init__(self, path: str) -> None:
        """Read the page; path: from the repository's root."""
        self.path = path
        self.lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        text = "\n".join(self.lines)
        self.varies = re.findall(r"<!-- varies: (.*?) -->", text)
        self.pictures = re.findall(r"<!-- picture: (\S+) -->\s*!\[[^\]]*\]\(([^)\s]+)\)", text)
        self.steps = _steps(self.lines)
        assert any(step.command for step in self.steps), f"{path} has no command"

    def follow(self, folder: Path, environment: Mapping[str, str], timeout: float = 300) -> None:
        """Do all that the page says, beginning in a folder; the environment's HOME is the reader's."""
        shell = Shell(folder, dict(environment), timeout)
        new, written = list(self.lines), 0
        for number, step in enumerate(self.steps):
            if step.path:
                place = shell.folder / os.path.expanduser(step.path.replace("~", environment["HOME"]))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(step.content + "\n", encoding="utf-8")
                continue
            code, printed = shell.run(step.command)
            printed = [line.replace(environment["HOME"], HOME).rstrip() for line in printed]
            rest = self.steps[number + 1 :]
            where = f"{self.path}:{step.line + 1}: $ {step.command}"
            shown = "\n".join(printed)
            assert code == 0 or (rest and rest[0].command == "echo $?"), f"{where}\nexit code {code}\n{shown}"
            if not UPDATE:
                assert self.agree(step.shown, printed), f"{where}\nprints now\n{shown}"
                continue
            at = self._place(step, new, written)
            lines = self.renewed(step.shown, printed)
            new[at : at + len(step.shown)] = lines
            written += len(lines) - len(step.shown)
        self._pictures(shell.folder)
        if UPDATE:
            (ROOT / self.path).write_text("\n".join(new) + "\n", encoding="utf-8")

    def agree(self, shown: Sequence[str], printed: Sequence[str]) -> bool:
        """Tell whether what is shown is what was printed."""
        return _aligned(shown, printed, lambda a, b: self._same(a, b, NEAR)) is not None

    def renewed(self, shown: Sequence[str], printed: Sequence[str]) -> list[str]:
        """Return the lines to be shown: those of before with the numbers of now, or all."""
        found = _aligned(shown, printed, lambda a, b: self._same(a, b, None))
        return list(printed) if found is None else ["..." if at is None else printed[at] for at in found]

    def _same(self, shown: str, printed: str, near: float | None) -> bool:
        """Compare two lines; near: how far numbers may differ, None: as they like."""
        (words, values), (others, now) = self._parts(shown), self._parts(printed)
        if words != others:
            return False
        pairs = zip(values, now, strict=True)
        return near is None or all(abs(a - b) <= near * max(abs(a), abs(b)) for a, b in pairs)

    def _parts(self, line: str) -> tuple[str, list[float]]:
        """Return a line's words, and its numbers but those of the machine."""
        for pattern in (*self.varies, _DATE, _CHECKSUM):
            line = re.sub(pattern, "@", line)
        values: list[float] = []

        def number(match: re.Match[str]) -> str:
            if match[2]:
                unit = match[2].strip()
                return "#" + next((one for many, one in _ONE_UNIT.items() if re.fullmatch(many, unit)), unit)
            values.append(float(match[1].replace(",", "")))
            return "#"

        line = re.sub(r"#s(?: #s)+", "#s", re.sub(_NUMBER, number, line))  # 1 min 44 s is a time, as 31 s
        return " ".join(re.sub(r"[─━═-]{3,}", "-", line).split()), values

    def _place(self, step: Step, new: list[str], written: int) -> int:
        """Return the line of the new page in which the command's output begins."""
        at = step.line + written + 1
        while new[at - 1].endswith("\\"):
            at += 1
        return at

    def _pictures(self, folder: Path) -> None:
        for source, shown in self.pictures:
            made, page = folder / source, (ROOT / self.path).parent / shown
            assert made.is_file() and made.stat().st_size > 0, f"{self.path}: the run has left no {source}"
            if UPDATE:
                page.parent.mkdir(parents=True, exist_ok=True)
                _copy_smaller(made, page)
            assert page.is_file(), f"{self.path}: there is no {shown}"


class Shell:
    """A shell that keeps its folder, its variables and its last exit code from command to command."""

    def __init__(self, folder: Path, environment: dict[str, str], timeout: float) -> None:
        """Begin in a folder; timeout: seconds for each command."""
        self.folder, self.environment, self.timeout, self.code = folder, environment, timeout, 0

    def run(self, command: str) -> tuple[int, list[str]]:
        """Run a command; return its exit code and the lines that it printed, errors among them."""
        left = Path(self.environment["HOME"]) / ".left"
        script = f'(exit {self.code})\n{command}\ncode=$?\n{{ pwd; env -0; }} > "{left}"\nexit $code'
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.timeout,
        )
        folder, _, variables = left.read_text().partition("\n")
        self.folder, self.code = Path(folder), done.returncode
        self.environment = dict(entry.split("=", 1) for entry in variables.split("\0") if "=" in entry)
        return done.returncode, done.stdout.splitlines()


def _copy_smaller(source: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(source) as picture:
        smaller = picture.convert("RGB")
    smaller.thumbnail((1000, 1000))
    smaller.quantize(64).save(target, optimize=True)


def _steps(lines: Sequence[str]) -> list[Step]:
    steps: list[Step] = []
    number = 0
    while number < len(lines):
        opened = re.match(r'```(\w+)(?: title="([^"]+)")?', lines[number])
        number += 1
        if opened is None:
            continue
        first = number
        while not lines[number].startswith("```"):
            number += 1
        block = lines[first:number]
        number += 1
        if opened[2]:
            steps.append(Step(first, path=opened[2], content="\n".join(block)))
        elif opened[1] == "console":
            steps += _commands(first, block)
    return steps


def _commands(first: int, block: Sequence[str]) -> list[Step]:
    steps: list[Step] = []
    at = 0
    while at < len(block):
        if block[at].startswith("$ "):
            step = Step(first + at, command=block[at].removeprefix("$ "))
            while step.command.endswith("\\"):
                at += 1
                step.command += "\n" + block[at]
            steps.append(step)
        else:
            steps[-1].shown.append(block[at])
        at += 1
    return steps


def _aligned(shown: Sequence[str], printed: Sequence[str], same) -> list[int | None] | None:  # noqa: ANN001
    """Return for each line shown the number of the line printed, None for `...`; None where they do not agree."""

    @functools.cache
    def rest(i: int, j: int) -> tuple[int | None, ...] | None:
        if i == len(shown):
            return () if j == len(printed) else None
        if shown[i].strip() == "...":
            for skipped in range(j, len(printed) + 1):
                if (found := rest(i + 1, skipped)) is not None:
                    return (None, *found)
            return None
        if j < len(printed) and same(shown[i], printed[j]):
            found = rest(i + 1, j + 1)
            return None if found is None else (j, *found)
        return None

    found = rest(0, 0)
    return None if found is None else list(found)
