"""A run's tokenizer: from text to the tokens of its training data, and back. Imports no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from slipway import files
from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.data.ledger import DataLedger
from slipway.data.text.end_mark import without_mark
from slipway.data.text.manifest import TOKENIZER_FACT, TOKENIZER_NAME, tokenizer_record
from slipway.data.text.tokenizer import count_entries, library_errors
from slipway.errors import UserError
from slipway.run_dir import RunDir

SETTINGS_NAME = "tokenizer_config.json"
TEMPLATE_NAME = "chat_template.jinja"
HALF = "\ufffd"
"""The decoded form of bytes that are no character, or not yet one."""


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, with what else its folder says."""

    path: Path
    """The path of tokenizer.json; what belongs to it is beside it."""
    json: str
    """The text of tokenizer.json."""
    end_of_document: int | None
    """The token after each document; None if none is known."""
    chat_template: str | None
    """The chat template in Jinja, as transformers has it; None if there is none."""

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizers.Tokenizer of the file, without padding and truncation: these are no part of a text."""
        from tokenizers import Tokenizer

        with library_errors(str(self.path), "is not a tokenizer.json"):
            loaded = Tokenizer.from_str(self.json)
        loaded.no_padding()
        loaded.no_truncation()
        return loaded

    @property
    def checksum(self) -> str:
        """The SHA-256 of the file, as in manifests and ledgers."""
        return sha256(self.json.encode()).hexdigest()

    @cached_property
    def entries(self) -> int:
        """One more than the largest token."""
        return count_entries(self.tokenizer)

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """Return the tokens that preparation makes of a document with this text, without the end mark.

        Special tokens in a text are text, as in documents, unless special_tokens is set: then they are tokens, as in a
        conversation that a template has written. Raises UserError if the tokenizer has no token for a part of the text.
        """
        with library_errors("text", "the tokenizer cannot encode it"):
            tokenizer = self.tokenizer if special_tokens else self._of_documents
            return tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, with special tokens by their names. Tokens without an entry are left out."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    @cached_property
    def _of_documents(self) -> Any:
        """The tokenizer as slipway.data.text.fast_bpe.encode.make_encoder uses any tokenizer of the library."""
        from tokenizers import Tokenizer

        parts = json.loads(self.tokenizer.to_str())
        if self.end_of_document is not None:
            parts = without_mark(parts, self.tokenizer.id_to_token(self.end_of_document))
        loaded = Tokenizer.from_str(json.dumps(parts))
        loaded.encode_special_tokens = True
        return loaded


class Unfolding:
    """Text from tokens that come one by one: no part of a character is returned before the rest of it.

    All returned pieces, joined, are the text of `before` and the tokens together, without that of `before`.
    """

    def __init__(self, vocabulary: Vocabulary, before: Sequence[int] = ()) -> None:
        self.vocabulary = vocabulary
        self.held = list(before)  # tokens whose text depends on each other, as spaces at a word's edge do
        self.given = len(self.held)  # of these
        self.text = vocabulary.decode(self.held)

    def add(self, token: int) -> str:
        """Return the text that this token completes; empty within a character."""
        self.held.append(token)
        text = self.vocabulary.decode(self.held)
        if text.endswith(HALF) or len(text) <= len(self.text):
            return ""
        new = text[len(self.text) :]
        self.held = self.held[self.given :]
        self.given = len(self.held)
        self.text = self.vocabulary.decode(self.held)
        return new

    def end(self) -> str:
        """Return the rest, which has not become a character."""
        return self.vocabulary.decode(self.held)[len(self.text) :]


def vocabulary_of(config: RunConfig) -> Vocabulary:
    """Return a run's tokenizer: its own copy, which every training and import leaves in run.dir, or data.dir's.

    Raises UserError if there is neither, or the file is no tokenizer.
    """
    data: Any = config.data
    there = kind_of(config).tokenizer(config)
    if not there:
        raise UserError("data.kind", "has no tokenizer", value=data.kind, do="choose data that is text")
    own = RunDir(config.run.dir).tokenizer
    found = _found(own) or _prepared(there[0].parent)
    if found is None:
        raise UserError(
            "run.dir",
            f"has no tokenizer: neither {own / TOKENIZER_NAME} nor a prepared data.dir ({there[0].parent}) is there",
            value=config.run.dir,
            do=f"put the tokenizer.json that the run was trained with into {own}, or prepare the data again",
        )
    # of an imported model the configuration may name another mark, for data that is still to come
    asked = getattr(data.tokenizer, "end_of_document", "")  # of conversations the settings alone know it
    marks = (asked, _name(_settings(found.path.parent).get("eos_token")))
    numbers = (found.tokenizer.token_to_id(mark) for mark in marks)
    return replace(found, end_of_document=next((one for one in numbers if one is not None), None))


def check_trained_with(vocabulary: Vocabulary, ledger: DataLedger) -> None:
    """Raise UserError if the checkpoint with this ledger was trained with another tokenizer."""
    known = {str(facts[TOKENIZER_FACT]) for facts in ledger.facts.values() if TOKENIZER_FACT in facts}
    if known and vocabulary.checksum not in known:
        raise UserError(
            vocabulary.path,
            "is not the tokenizer that the checkpoint was trained with: its checksum differs",
            do="replace it with the one that was",
        )


def _prepared(folder: Path) -> Vocabulary | None:
    record, found = tokenizer_record(folder), _found(folder)
    if record is None or found is None:
        return None
    if found.checksum != record.file.sha256:
        raise UserError(
            "data.dir",
            "is not the file that its manifest lists: its checksum differs",
            value=found.path,
            do=f"remove {folder} and run `slipway data`",
        )
    return found


def _found(folder: Path) -> Vocabulary | None:
    """Return the tokenizer in a folder, whatever its end mark is."""
    text = _content(folder / TOKENIZER_NAME)
    if text is None:
        return None
    return Vocabulary(folder / TOKENIZER_NAME, text, None, _template(folder, _settings(folder)))


def _settings(folder: Path) -> dict[str, Any]:
    return _json(folder / SETTINGS_NAME) or {}


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    """Return the chat template: a file of its own, as newer versions of transformers write it, or a setting.

    None if there is neither.
    """
    text = _content(folder / TEMPLATE_NAME)
    if text is not None:
        return text
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((one.get("template") for one in template if one.get("name") == "default"), None)
    return template if isinstance(template, str) else None


def _name(token: Any) -> str:
    """Return a special token's name: the setting itself, or the content of an added token's fields."""
    name = token.get("content") if isinstance(token, dict) else token
    return name if isinstance(name, str) else ""


def _json(path: Path) -> dict[str, Any] | None:
    text = _content(path)
    if text is None:
        return None
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise UserError(path, f"is not JSON: {error}", do="replace it with a good copy") from error
    if not isinstance(plain, dict):
        raise UserError(path, "is not a JSON object", do="replace it with a good copy")
    return plain


def _content(path: Path) -> str | None:
    """Return the text of a file; None if there is none. Raises UserError if it is not UTF-8."""
    content = files.read(path)
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8: {error}", do="replace it with a good copy") from error
