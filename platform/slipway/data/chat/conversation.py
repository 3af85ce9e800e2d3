"""Conversations read from lines of JSON, and the reasons why a line holds none."""

from collections.abc import Collection, Mapping
from typing import Any

from slipway.data.chat.template import MARKS, Message
from slipway.data.chat.words import ASSISTANT

ROLES = ("system", "user", ASSISTANT, "tool")


class Malformed(ValueError):
    """A line holds no conversation. `kind` is the reason in few words that many lines share; str gives it in full."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def read_conversation(row: Any, key: str, special: Collection[str]) -> list[Message]:
    """Return the messages of a line. Raises Malformed if it holds no conversation.

    key: the field that holds the messages. special: tokens that only the template may write.
    """
    if not isinstance(row, dict):
        raise Malformed("no object", f"is {type(row).__name__}, not a JSON object (a conversation per line)")
    if key not in row:
        found = ", ".join(map(repr, list(row)[:20])) or "no keys"
        raise Malformed("no messages", f"has no messages_key {key!r}, found {found}")
    if row.get("tools"):
        raise Malformed("tools", "has 'tools', which are not written into conversations")
    messages = row[key]
    if not isinstance(messages, list) or not messages:
        raise Malformed(
            "no messages", f"{key!r} is {'empty' if messages == [] else type(messages).__name__}, not a list"
        )
    return [
        _message(message, f"message {number}", special) for number, message in enumerate(messages, start=1)
    ]


def _message(message: Any, where: str, special: Collection[str]) -> Message:
    if not isinstance(message, dict):
        raise Malformed("no message", f"{where} is {type(message).__name__}, not an object")
    role = message.get("role")
    if role not in ROLES:
        raise Malformed("unknown role", f"{where} has the role {role!r}, known are {', '.join(ROLES)}")
    others = [name for name in message if name not in ("role", "content") and message[name]]
    if others:
        raise Malformed(
            "more than words", f"{where} has {', '.join(map(repr, others))}, which would not be trained on"
        )
    content = _text(message.get("content"), where)
    if not content.strip():
        raise Malformed("an empty turn", f"{where}, of the {role}, has no words")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise Malformed(
            "broken characters", f"{where} contains half a surrogate pair, \\u{ord(content[error.start]):x}"
        ) from error
    for token in (*MARKS, *special):
        if token in content:
            raise Malformed(
                "special tokens", f"{where} contains {token!a}, which only the chat template may write"
            )
    return {"role": role, "content": content}


def _text(content: Any, where: str) -> str:
    """Return the content of a message: a string, or parts of type text joined by line feeds.

    Raises Malformed for other content.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Malformed("no text", f"{where} has content of type {type(content).__name__}, not a string")
    texts = []
    for part in content:
        if (
            not isinstance(part, Mapping)
            or part.get("type") != "text"
            or not isinstance(part.get("text"), str)
        ):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise Malformed("no text", f"{where} has a part of type {kind!r}, only 'text' is read")
        texts.append(part["text"])
    return "\n".join(texts)
