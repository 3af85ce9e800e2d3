"""The places of the assistant's words in a rendered conversation, for which the loss counts.

The rule: from the first character that follows what the assistant is prompted with, to the end of the mark that ends
its turn, so that a model learns to stop. White space that a template writes after that mark is nobody's words.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from slipway.data.chat.template import Marked, Message, Template
from slipway.errors import UserError

ASSISTANT = "assistant"


def words_of(template: Template, messages: Sequence[Message], ends: Collection[str]) -> Marked:
    """Return the rendered conversation with the spans of the assistant's words, in characters.

    ends: the special tokens, one of which ends a turn. The spans come from the template's own marks if it has them,
    else from rendering the conversation up to each turn of the assistant. Raises Rejected if the template does not
    accept the conversation, UserError if the words cannot be found.
    """
    text, spans = template.marked(messages)
    if template.marks:
        following = [*(start for start, _ in spans), len(text)][1:]
        return Marked(
            text,
            [
                (start, _with_end(text, start, stop, limit, ends))
                for (start, stop), limit in zip(spans, following, strict=True)
            ],
        )
    spans = [
        _turn(template, messages, number, text)
        for number, message in enumerate(messages)
        if message["role"] == ASSISTANT
    ]
    assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans
    return Marked(text, [(start, _without_space(text, start, stop, ends)) for start, stop in spans])


def _turn(template: Template, messages: Sequence[Message], number: int, text: str) -> tuple[int, int]:
    """Return begin and end of a turn of the assistant, from the text before it and the text that includes it."""
    before = template.render(messages[:number], add_generation_prompt=True)
    after = text if number + 1 == len(messages) else template.render(messages[: number + 1])
    if not (after.startswith(before) and text.startswith(after)):
        raise _untold(template, "writes a turn in another way where others follow it")
    start, stop = len(before), len(after)
    if template.render(messages[:number]) == before:
        # the template adds no prompt: whatever it writes before the words would be taken for theirs
        content = messages[number]["content"].strip()
        if not text[start:stop].lstrip().startswith(content):
            raise _untold(template, "has no prompt for a turn of the assistant (add_generation_prompt)")
    return start, stop


def _untold(template: Template, what: str) -> UserError:
    return UserError(
        "data.tokenizer.template",
        f"{what}, so it cannot be told where the assistant's words lie",
        value=template.path,
        use="a copy that has {% generation %} and {% endgeneration %} around them, its mark of the end included",
    )


def _with_end(text: str, start: int, stop: int, limit: int, ends: Collection[str]) -> int:
    """Return the end of marked words, moved behind the special token that follows if they hold none themselves."""
    words = text[start:stop]
    if any(token in words for token in ends):
        return _without_space(text, start, stop, ends)
    following = [token for token in ends if text.startswith(token, stop) and stop + len(token) <= limit]
    return stop + max(map(len, following), default=0)


def _without_space(text: str, start: int, stop: int, ends: Collection[str]) -> int:
    """Return the end of words, without white space that follows a special token at their end."""
    bare = start + len(text[start:stop].rstrip())
    return bare if any(text.endswith(token, start, bare) for token in ends) else stop
