"""Assertions on errors' parts: where, what was found, what to use; never on sentences (tests/golden/messages.txt)."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway.errors import Problem, UserError

ANY: Any = object()


@contextmanager
def refused(
    path: str | Path,
    *facts: object,
    value: Any = ANY,
    use: object = (),
    kind: type[Problem] | tuple[type[Problem], ...] = UserError,
) -> Iterator[None]:
    """Fail unless the block raises an error of this kind with these parts; see check."""
    with pytest.raises(kind) as caught:
        yield
    check(caught.value, path, *facts, value=value, use=use)


def check(error: Problem, path: str | Path, *facts: object, value: Any = ANY, use: object = ()) -> None:
    """Assert an error's path, its value, and the facts (numbers, names, paths) that its line and remedy hold.

    use: facts that the remedy holds, one or several. Facts are whole words of the line.
    """
    assert error.path == str(path), str(error)
    if value is not ANY:
        assert (
            UserError("", "", value=error.value).parts()["value"]
            == UserError("", "", value=value).parts()["value"]
        )
    for fact in facts:
        assert holds(str(error), fact), f"{fact} is not in: {error}"
    for fact in use if isinstance(use, list | tuple) else [use]:
        assert holds(f"{error.use}; {error.do}", fact), f"{fact} is not what to use in: {error}"


def holds(line: str, fact: object) -> bool:
    """Whether a line has a fact as a word of its own. Raises AssertionError for prose, which is no test's business."""
    text = str(fact).lower() if isinstance(fact, bool) else str(fact)
    assert not re.fullmatch(r"[A-Za-z,;' ]* [A-Za-z,;' ]*", text), f"prose, not a fact: {text}"
    return re.search(rf"(?<![\w]){re.escape(text)}(?![\w])", line) is not None


def missing(line: str, facts: Iterable[object]) -> list[object]:
    """Return the facts that a line lacks."""
    return [fact for fact in facts if not holds(line, fact)]
