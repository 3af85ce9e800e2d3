"""Measures in a process of its own, which ends with the measurement."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def in_child(function: Callable, *arguments: object) -> Any:
    """Return the function's value, from a process of its own. Raises RuntimeError if it fails."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise RuntimeError(f"bench data: {function.__name__} failed; its error is above") from None
    finally:
        process.join()


def _send(pipe: Connection, function: Callable, arguments: tuple) -> None:
    pipe.send(function(*arguments))
