"""Errors have parts, and all their words stand in one file."""

import os
import pickle

import pytest

import messages
from slipway.errors import Fault, Problem, UserError
from slipway.files import Unreadable


def test_all_messages_are_as_reviewed() -> None:
    text = "\n".join(messages.messages()) + "\n"
    if os.environ.get("SLIPWAY_UPDATE_GOLDENS"):
        messages.GOLDEN.write_text(text, encoding="utf-8")
    assert text == messages.GOLDEN.read_text(encoding="utf-8")


def test_paths_are_places_and_not_sentences() -> None:
    # `UserError("path: problem", ...)`: a message in one piece that no test and no program can read
    whole = [line for line in messages.messages() if ": " in line.partition(": ")[2].split(" | ")[0]]
    assert not [line for line in whole if "{" not in line.split(" | ")[0]]


def test_one_line_is_composed_of_the_parts() -> None:
    assert (
        str(UserError("a.b", "is not above 0", value=0, use="at least 1"))
        == "a.b: 0 is not above 0; use at least 1"
    )
    assert (
        str(UserError("a.b", "has no effect", value=True, do="omit it")) == "a.b: true has no effect; omit it"
    )
    both = UserError("a", "is 3", use="4", do="set b=c")
    assert str(both) == "a: is 3; use 4, or set b=c"
    assert str(UserError("a", "is not a path", value="")) == "a: '' is not a path"
    assert str(both.replaced(path="job 1: a")) == "job 1: a: is 3; use 4, or set b=c"
    assert str(both) == "a: is 3; use 4, or set b=c"


@pytest.mark.parametrize(
    "error",
    [
        UserError("a.b", "is not above 0", value=0, use="at least 1", do="omit it"),
        Fault("step 3", "failed"),
        Unreadable(messages.GOLDEN, "why"),
    ],
)
def test_errors_cross_processes_whole(error: Problem) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error) and str(again) == str(error)
    assert str(type(error)(**error.parts()) if type(error) is not Unreadable else error) == str(error)
