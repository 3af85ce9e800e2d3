"""The findings of a part, and the file that holds them: written whole, whenever there is more of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slipway import files

PASSED, FAILED, TIMED_OUT = "passed", "failed", "timed out"
LEFT_OUT, NOT_BEGUN, CUT = "left out", "not begun", "cut off"
BAD = {FAILED, TIMED_OUT}
EMPTY: dict[str, Any] = {
    "checks": [],
    "goals": [],
    "rows": [],
    "notes": [],
    "shares": {},
    "left_out": None,
}
OPEN = {NOT_BEGUN, CUT}  # the call's time was over: the next call continues


@dataclass(frozen=True)
class Check:
    """A condition that must hold: what was found, and what was asked."""

    what: str
    found: str
    asked: str
    passed: bool


@dataclass(frozen=True)
class Goal:
    """A figure beside its goal. Whether it is reached is reported; a missed goal is no failure."""

    what: str
    found: float
    goal: float

    @property
    def reached(self) -> bool:
        """Whether the figure is at least the goal."""
        return self.found >= self.goal


@dataclass
class Found:
    """The findings of a part, in order. Each addition is on disk at once."""

    path: Path
    checks: list[Check] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the part's table: label -> text or number, the same labels in each."""
    notes: list[str] = field(default_factory=list)
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    """A step's time by kind of work: name -> kind of work -> share."""
    left_out: str | None = None
    """Why there is nothing to show on these devices."""

    def check(self, what: str, passed: bool, found: object, asked: object = "") -> None:
        """Note a condition that must hold, and print whether it does."""
        self.checks.append(Check(what, str(found), str(asked), bool(passed)))
        print(
            f"{'ok  ' if passed else 'FAIL'}  {what}: {found}" + (f" (asked: {asked})" if asked else ""),
            flush=True,
        )
        self._write()

    def goal(self, what: str, found: float, goal: float) -> None:
        """Note a figure and its goal."""
        self.goals.append(Goal(what, found, goal))
        self._write()

    def row(self, **values: Any) -> None:
        """Add a row to the part's table; underscores in labels become spaces."""
        self.rows.append({label.replace("_", " "): value for label, value in values.items()})
        self._write()

    def note(self, text: str) -> None:
        """Add a sentence and print it."""
        self.notes.append(text)
        print(text, flush=True)
        self._write()

    def share(self, name: str, shares: Mapping[str, float]) -> None:
        """Note the shares of a step's time."""
        self.shares[name] = dict(shares)
        self._write()

    def leave_out(self, why: str) -> None:
        """Note and print why there is nothing to show here, which is no failure."""
        self.left_out = why
        print(why, flush=True)
        self._write()

    def _write(self) -> None:
        plain = {name: getattr(self, name) for name in ("rows", "notes", "shares", "left_out")}
        plain |= {name: [asdict(one) for one in getattr(self, name)] for name in ("checks", "goals")}
        files.write_whole(self.path, json.dumps(plain, indent=1) + "\n")


def read(path: Path) -> dict[str, Any] | None:
    """Return the result in a file; None if the file does not exist or holds none. Raises files.Unreadable."""
    try:
        found = json.loads(files.read(path) or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def verdict(code: int | None, found: Mapping[str, Any] | None, *, cut: bool) -> str:
    """Return the verdict on a part.

    Args:
        code: The exit code of its process; None: it was ended because its time was over.
        found: What it has written.
        cut: Whether the time that was over was the whole call's, and not its own.
    """
    found = found or EMPTY
    checks = found["checks"]
    if code is None:
        return CUT if cut else TIMED_OUT
    if code == 0 and found["left_out"]:
        return LEFT_OUT
    return PASSED if code == 0 and checks and all(check["passed"] for check in checks) else FAILED
