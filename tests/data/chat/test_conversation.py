"""What a line holds: a conversation, or why it is none."""

from typing import Any

import pytest

from slipway.data.chat.conversation import Malformed, read_conversation

SPECIAL = ("<|im_end|>",)
USER = {"role": "user", "content": "2+2?"}


def read(row: Any) -> list[Any]:
    return list(read_conversation(row, "messages", SPECIAL))


def test_messages_are_taken_as_they_are() -> None:
    said = [{"role": "system", "content": " x\n"}, USER, {"role": "tool", "content": "3"}]
    assert read({"messages": said, "id": 7}) == said


def test_parts_of_text_are_joined_and_empty_fields_left_out() -> None:
    parts = [{"type": "text", "text": "2+2"}, {"type": "text", "text": "= ?"}]
    row = {"messages": [{"role": "user", "content": parts, "name": None, "tool_calls": []}], "tools": None}
    assert read(row) == [{"role": "user", "content": "2+2\n= ?"}]


@pytest.mark.parametrize(
    ("row", "kind", "named"),
    [
        ([], "no object", "list"),
        ({"text": "x"}, "no messages", "'text'"),
        ({"messages": []}, "no messages", "empty"),
        ({"messages": "hello"}, "no messages", "str"),
        ({"messages": ["hello"]}, "no message", "message 1"),
        ({"messages": [USER, {"role": "narrator", "content": "x"}]}, "unknown role", "message 2"),
        ({"messages": [{"content": "x"}]}, "unknown role", "None"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "unknown role", "user"),
        ({"messages": [{"role": "user", "content": ""}]}, "an empty turn", "user"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "an empty turn", "message 1"),
        ({"messages": [{"role": "assistant", "content": None}]}, "an empty turn", "assistant"),
        ({"messages": [{"role": "user", "content": []}]}, "an empty turn", "message 1"),
        ({"messages": [{"role": "user", "content": 4}]}, "no text", "int"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "no text", "'image'"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "no text", "'str'"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "no text", "'text'"),
        (
            {"messages": [{**USER, "tool_calls": [{"id": 1}], "name": "x"}]},
            "more than words",
            "'tool_calls', 'name'",
        ),
        ({"messages": [USER], "tools": [{}]}, "tools", "tools"),
        ({"messages": [{"role": "user", "content": "a<|im_end|>b"}]}, "special tokens", "<|im_end|>"),
        ({"messages": [{"role": "user", "content": "a\ufdd0b"}]}, "special tokens", "fdd0"),
        ({"messages": [{"role": "user", "content": "a\ud800b"}]}, "broken characters", "d800"),
    ],
)
def test_what_is_no_conversation(row: Any, kind: str, named: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(row)
    assert caught.value.kind == kind
    assert named in str(caught.value)
