"""Errors that end a command with one line, composed of parts that are data, and the exit codes."""

import copy
import os
from typing import Any, Self


class Problem(Exception):
    """An error, in parts that programs and tests read; `str` composes `path: value problem; use X, or do Y`.

    path: where it is: the dotted path of a field, an option, a file, an environment variable, a command. problem:
    what is wrong there, a phrase that follows the value if there is one. value: what was found there. use: the values
    that are valid instead. do: what else to do, as a sentence's verb and object. Pickles whole.
    """

    def __init__(
        self, path: str | os.PathLike[str], problem: str, *, value: Any = None, use: str = "", do: str = ""
    ) -> None:
        super().__init__(str(path), problem)
        self.path, self.problem, self.value, self.use, self.do = str(path), problem, value, use, do

    def __str__(self) -> str:
        remedy = ", or ".join(filter(None, (self.use and f"use {self.use}", self.do)))
        return self.finding + (f"; {remedy}" if remedy else "")

    @property
    def finding(self) -> str:
        """The error without what to do about it, `path: value problem`: for notes on what was settled already."""
        value = [] if self.value is None else [_shown(self.value)]
        return f"{self.path}: {' '.join([*value, self.problem])}"

    def replaced(self, **parts: Any) -> Self:
        """Return the same error with other parts."""
        changed = copy.copy(self)
        vars(changed).update(parts)
        return changed

    def parts(self) -> dict[str, Any]:
        """Return the arguments that make this error again, as text that JSON can carry."""
        value = None if self.value is None else _shown(self.value)
        return {"path": self.path, "problem": self.problem, "value": value, "use": self.use, "do": self.do}


class UserError(Problem, ValueError):
    """A mistake that the user can correct; raised before anything is written. Exit code 2."""


class Fault(Problem, RuntimeError):
    """A failure that ended what had begun, for which a traceback would not help. Exit code 1."""


class Stopped(BaseException):
    """A signal, by its name, that asked a training to end before its first step. Exit code 75.

    It is no Exception, so that no `except Exception` catches it.
    """

    def __str__(self) -> str:
        return f"stopped by {self.args[0]} before the first step; run the same command to resume"


def _shown(value: Any) -> str:
    """Return a value as it is shown in a line: switches as in YAML, text whose edges would be invisible in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return (
        text
        if not isinstance(value, str) or (text and text.isprintable() and text == text.strip())
        else repr(text)
    )


EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_USER_ERROR = 2
EXIT_CONTINUE = 75  # stopped cleanly before the end: run the same command again
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_CODES = {
    EXIT_DONE: "Done. A training has reached and saved its last step, or training.stop_after_step.",
    EXIT_FAULT: "A fault ended a command that had begun: one line, or the traceback of the first rank that failed.",
    EXIT_USER_ERROR: "The command refused its input: one line says what to use instead, and nothing is written.",
    EXIT_CONTINUE: "Training stopped cleanly before its end (a signal, the wall time). Run the same command to resume.",
    EXIT_INTERRUPTED: "Interrupted by Ctrl-C; a training by the second one, or by one before its ranks had started.",
}
"""The meaning of each exit code, for people."""
