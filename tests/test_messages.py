"""Errors have parts, and all their words stand in one file."""

import ast
import os
import pickle
import re

import pytest

import messages
from slipway.errors import Fault, Problem, UserError
from slipway.files import Unreadable


def test_all_messages_are_as_reviewed() -> None:
    text = "\n".join(messages.messages()) + "\n"
    if os.environ.get("SLIPWAY_UPDATE_GOLDENS"):
        messages.GOLDEN.write_text(text, encoding="utf-8")
    assert text == messages.GOLDEN.read_text(encoding="utf-8")


def test_no_message_is_in_one_piece() -> None:
    """`UserError("path: problem; use X")` has no parts that a program or a test could read."""
    for path in sorted(messages.PACKAGE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(call, ast.Call)
                and ast.unparse(call.func).split(".")[-1] in messages.KINDS
                and call.args
            ):
                assert len(call.args) == 2, f"{path}:{call.lineno}: give path and problem"
                assert ": " not in ast.unparse(call.args[0]), (
                    f"{path}:{call.lineno}: the path holds a problem"
                )


def test_messages_say_what_to_do() -> None:
    """All but those whose words are another's (a scheduler's, a library's), which may hold the remedy."""
    bare = [line for line in messages.messages() if line.count(" | ") < 2 and ": (its path) | " not in line]
    assert [line for line in bare if not line.endswith("}") and ": ADVICE[" not in line] == []


def test_messages_fill_their_places_in() -> None:
    """A text with {name} in it, but not ${name}, lacks its f."""
    found = []
    for path in sorted(messages.PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        filled = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).split(".")[-1] not in messages.KINDS:
                continue
            texts = [
                node for node in ast.walk(call) if isinstance(node, ast.Constant) and id(node) not in filled
            ]
            found += [
                f"{path.name}:{text.lineno}"
                for text in texts
                if isinstance(text.value, str) and re.search(r"(?<!\$)\{[a-z_.]+\}", text.value)
            ]
    assert found == []


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
