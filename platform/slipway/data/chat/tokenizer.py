"""The tokenizer of conversations: tokenizer.json, its chat template, and the choice of tokens whose loss counts."""

import datetime
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slipway.data.chat.template import Marked, Message, Template
from slipway.data.chat.words import words_of
from slipway.errors import UserError

if TYPE_CHECKING:
    import numpy as np

TOKENIZER, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
NAMES = "special_tokens_map.json"
"""The files of a tokenizer's folder, by transformers' names."""
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Encoded(NamedTuple):
    """A conversation as tokens."""

    tokens: "np.ndarray"
    """[tokens] int64."""
    loss: "np.ndarray"
    """[tokens] bool: whether a token is the assistant's; the first one is not, as nothing predicts it."""
    ends: list[str]
    """The special token that ends each turn of the assistant; empty if none does."""


class ChatTokenizer:
    """Writes conversations as text and as tokens, with the tokenizer of `data.tokenizer` or of prepared data."""

    def __init__(self, path: Path, template: Path | None = None, date: datetime.date | None = None) -> None:
        """Read tokenizer.json at `path`, or in that folder, and the files beside it.

        template: a chat template to use in place of the one beside it. Raises UserError if a file is missing or not
        valid.
        """
        self.path = path / TOKENIZER if path.is_dir() else path
        self.text = _read(self.path, "data.tokenizer.path")
        self.settings = settings = self._settings()
        self.template_path, source = self._template(template, settings)
        self.named = {name: token for name in _NAMED if (token := _content(settings.get(name)))}
        self.template = Template(source, self.template_path, self.named, date)
        self._check_named(self.named)

    def _settings(self) -> dict[str, Any]:
        path = self.path.with_name(SETTINGS)
        if not path.is_file():
            return {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        text = _read(path, "data.tokenizer.path")
        try:
            settings = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(
                "data.tokenizer.path",
                f"is not JSON: {error}",
                value=path,
                do="replace the file with a good copy",
            ) from error
        if not isinstance(settings, dict):
            raise UserError(
                "data.tokenizer.path",
                "is not a JSON object",
                value=path,
                do="replace the file with a good copy",
            )
        return settings

    def _template(self, asked: Path | None, settings: dict[str, Any]) -> tuple[Path, str]:
        """Return the path and source of the template; chat_template.jinja precedes tokenizer_config.json.

        Raises UserError if there is none.
        """
        if asked is not None:
            return asked, _read(asked, "data.tokenizer.template")
        beside = self.path.with_name(TEMPLATE)
        if beside.is_file():
            return beside, _read(beside, "data.tokenizer.path")
        found = settings.get("chat_template")
        if isinstance(found, list):  # several, by name
            found = next((one.get("template") for one in found if one.get("name") == "default"), None)
        if isinstance(found, str):
            return self.path.with_name(SETTINGS), found
        raise UserError(
            "data.tokenizer.template",
            f"is null, and no chat template was found beside {self.path} ({TEMPLATE}, or chat_template in {SETTINGS})",
            use="a file that holds one",
        )

    def _check_named(self, named: dict[str, str]) -> None:
        for name in sorted(self.template.asks_for & named.keys()):
            if self.library.token_to_id(named[name]) is None:
                raise UserError(
                    "data.tokenizer.path",
                    f"lacks {named[name]!r}, which {SETTINGS} calls its {name}, and which the chat template writes",
                    value=self.path,
                    do="use the tokenizer that these settings belong to",
                )

    @cached_property
    def library(self) -> Any:
        """The tokenizers.Tokenizer, whose offsets count every character."""
        from tokenizers import Tokenizer as Loaded

        from slipway.data.text.tokenizer import library_errors

        with library_errors("data.tokenizer.path", f"{self.path} is not a {TOKENIZER}"):
            parts = json.loads(Loaded.from_str(self.text).to_str())
            # it adds tokens that the template writes itself, and takes blanks off the offsets
            parts["post_processor"] = None
            tokenizer = Loaded.from_str(json.dumps(parts))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def special(self) -> dict[str, int]:
        """The special tokens, which text never becomes."""
        return {
            token.content: number
            for number, token in self.library.get_added_tokens_decoder().items()
            if token.special
        }

    @property
    def entries(self) -> int:
        """The number of rows that an embedding needs."""
        from slipway.data.text.tokenizer import count_entries

        return count_entries(self.library)

    def files(self, end: str) -> dict[str, str]:
        """Return the contents of the tokenizer's files as a run keeps them, by name.

        end: the token that ends a turn. It becomes the `eos_token`, whatever that was before: it is where the model has
        learnt to stop.
        """
        settings = {name: value for name, value in self.settings.items() if name != "chat_template"}
        return {
            TOKENIZER: self.text,
            SETTINGS: _as_json({**settings, "eos_token": end}),
            NAMES: _as_json({**self.named, "eos_token": end}),
            TEMPLATE: self.template.source,
        }

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """Return the conversation as text, as slipway.data.chat.template.Template.render does."""
        return self.template.render(messages, add_generation_prompt)

    def words(self, messages: Sequence[Message]) -> Marked:
        """Return the conversation as text, with the spans of the assistant's words.

        Raises Rejected if the template does not accept the conversation, UserError if the words cannot be found.
        """
        return words_of(self.template, messages, self.special.keys())

    def encode(self, marked: Sequence[Marked]) -> list[Encoded]:
        """Return the tokens of conversations, and for which of them the loss counts.

        A token is the assistant's if any of its characters is, and so is everything between two such tokens of the same
        turn.
        """
        import numpy as np

        encoded = self.library.encode_batch([one.text for one in marked], add_special_tokens=False)
        results = []
        for one, tokens in zip(marked, encoded, strict=True):
            offsets = np.array(tokens.offsets, np.int64).reshape(-1, 2)
            ids = np.array(tokens.ids, np.int64)
            loss = np.zeros(len(ids), bool)
            ends = []
            for start, stop in one.spans:
                inside = np.flatnonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start))
                if len(inside):
                    loss[inside[0] : inside[-1] + 1] = True
                    last = self.library.id_to_token(int(ids[inside[-1]]))
                    ends.append(last if last in self.special else "")
            loss[:1] = False
            results.append(Encoded(ids, loss, ends))
        return results


def _read(path: Path, field: str) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise UserError(
            field,
            f"cannot be read: {error.strerror}",
            value=path,
            do="make it readable, or name another file",
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            field, f"is not UTF-8: {error}", value=path, do="save it as UTF-8, or name another file"
        ) from error


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _content(token: Any) -> str:
    """Return a token's text in tokenizer_config.json, which is a string or an object with its content."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else ""
