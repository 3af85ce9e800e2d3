"""A chat template: the Jinja program beside a tokenizer that writes a conversation as text.

It is of unknown origin, so it runs in Jinja's sandbox: it cannot reach Python's objects, files or modules, and cannot
change what it is given. It is told what transformers tells it (transformers.utils.chat_template_utils, version 5.24):
block tags leave no lines behind, there are `break` and `continue`, `raise_exception`, `strftime_now`, a `tojson` that
keeps all characters, and the tag `generation` around the assistant's words. What would make a text differ from one
time to the next is missing (the filter `random`, the function `lipsum`), or fixed (the date).
"""

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slipway.errors import UserError

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Marks around the assistant's words if the template has them: noncharacters, which no text should hold."""
MARKS = (OPEN, CLOSE)

Message = Mapping[str, str]
"""A message with the keys `role` and `content`."""


class Rejected(ValueError):
    """The template does not accept this conversation; the message says why."""


class Marked(NamedTuple):
    """A rendered conversation."""

    text: str
    spans: list[tuple[int, int]]
    """Begin and end of each stretch inside the template's `generation` tags, in characters."""


class Template:
    """Renders conversations."""

    def __init__(
        self, source: str, path: Path, tokens: Mapping[str, str], date: datetime.date | None = None
    ) -> None:
        """Parse a template. Raises UserError if it is not valid.

        path: the file that it was read from, for messages. tokens: what it is told besides, such as bos_token. date:
        today's.
        """
        from jinja2 import TemplateSyntaxError, nodes
        from jinja2.meta import find_undeclared_variables

        self.path, self.source, self.tokens = path, source, tokens
        environment = _environment(lambda form: self._today(date, form))
        try:
            parsed = environment.parse(source)
            self._template = environment.from_string(parsed)
        except TemplateSyntaxError as error:
            raise UserError(
                path,
                f"is not a chat template: {error.message} (line {error.lineno})",
                do="correct it, or use another template (data.tokenizer.template)",
            ) from error
        self.marks = any(node.data == OPEN for node in parsed.find_all(nodes.TemplateData))
        self.asks_for = frozenset(find_undeclared_variables(parsed))

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """Return the conversation as text, followed by the prompt of the assistant's next turn if that is asked for.

        Raises Rejected if the template does not accept the messages, UserError if the template itself is wrong.
        """
        return self.marked(messages, add_generation_prompt).text

    def marked(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> Marked:
        """Return the text of `render` with the spans of the assistant's words by the template's own marks.

        Raises Rejected if the template does not accept the messages. Raises UserError if the template needs a date that
        is not set, does what no template may, or leaves a mark open.
        """
        from jinja2.exceptions import SecurityError

        try:
            text = self._template.render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.tokens,
            )
        except UserError:
            raise
        except SecurityError as error:
            raise UserError(
                self.path,
                f"does something that chat templates may not do: {error}",
                do="remove that from it, or use another template",
            ) from error
        except Exception as error:  # of a program that somebody else wrote: anything
            raise Rejected(f"the chat template refuses it: {error or type(error).__name__}") from error
        marked = _without_marks(text)
        if marked is None:
            raise UserError(
                self.path,
                "leaves a {% generation %} block before its end (break, continue)",
                do="close the block on every path, or use another template",
            )
        return marked

    def _today(self, date: datetime.date | None, form: str) -> str:
        if date is None:
            raise UserError(
                "data.tokenizer.date",
                f"is null, but {self.path} writes the date into each conversation: its tokens would change every day",
                use="a date, such as 2025-01-31",
            )
        return date.strftime(form)


def _environment(today: Callable[[str], str]) -> Any:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The tag `{% generation %}` around the assistant's words."""

        tags = {"generation"}  # noqa: RUF012 (Jinja's)

        def parse(self, parser: Any) -> list[Any]:
            next(parser.stream)
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return [_mark(nodes, OPEN), *body, _mark(nodes, CLOSE)]

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    del environment.filters["random"], environment.globals["lipsum"]
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = today
    return environment


def _mark(nodes: Any, mark: str) -> Any:
    return nodes.Output([nodes.TemplateData(mark)])


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _without_marks(text: str) -> Marked | None:
    """Return the text and the spans between its marks; None if a mark lacks its counterpart."""
    pieces, spans, length = [], [], 0
    begun: list[int] = []
    for piece in re.split(f"([{OPEN}{CLOSE}])", text):
        if piece == OPEN:
            begun.append(length)
        elif piece == CLOSE:
            if not begun:
                return None
            start = begun.pop()
            if not begun and length > start:
                spans.append((start, length))
        else:
            pieces.append(piece)
            length += len(piece)
    return None if begun else Marked("".join(pieces), spans)
