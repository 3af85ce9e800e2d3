"""Workers: what each has built in a process of its own is asked in turn, so that a noisy machine disturbs all alike."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from slipway.errors import Fault
from slipway.ranks.local import die_with


class Worker:
    """A process that has built something, and answers questions about it until it is closed."""

    def __init__(self, name: str, build: Callable[..., Any], *words: Any) -> None:
        """Start the process, which runs `build(*words)`; both are pickled."""
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid(), build, words))
        self._process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait until the process has built its object. Raises Fault if it fails."""
        self._answer()

    def ask(self, question: Callable[..., Any], *words: Any) -> Any:
        """Return the value of question(built, *words) there. Raises Fault if it fails, or the process has ended."""
        self._pipe.send((question, words))
        return self._answer()

    def close(self) -> None:
        """Kill the process and wait for its end."""
        self._process.kill()
        self._process.join()

    def _answer(self) -> Any:
        try:
            good, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise Fault(
                self.name, f"its process exited with code {self._process.exitcode}", do="see its output above"
            ) from None
        if not good:
            raise Fault(self.name, value, do="see its output above")
        return value


def _serve(pipe: Connection, parent: int, build: Callable[..., Any], words: tuple) -> None:
    die_with(parent)

    def answer(function: Callable[..., Any], *given: Any) -> Any:
        try:
            value = function(*given)
        except Exception as error:
            traceback.print_exc()
            pipe.send((False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))
            raise SystemExit(1) from None
        return value

    built = answer(build, *words)
    pipe.send((True, None))
    while True:
        question, asked = pipe.recv()
        pipe.send((True, answer(question, built, *asked)))
