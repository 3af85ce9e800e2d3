"""The token that ends a document, which no text may become."""

import json
import re
from pathlib import Path
from typing import Any

from slipway.data.text.config import Tokenizer
from slipway.errors import UserError

_NO_TEXT = "\ufffe\uffff<end of document>\uffff\ufffe"
"""The mark's name for the model's vocabulary: noncharacters, which text does not hold."""


def check_new_mark(mark: str) -> None:
    """Raise UserError if a new tokenizer could make the mark of text, as of a word of GPT-2's pattern."""
    from tokenizers.pre_tokenizers import ByteLevel

    if len(ByteLevel(add_prefix_space=False).pre_tokenize_str(mark)) < 2:
        raise UserError(
            "data.tokenizer.end_of_document",
            "could be a word of the text",
            value=mark,
            use="a mark that mixes letters and signs, such as <|endoftext|> or [EOS]",
        )


def end_of_document_id(tokenizer: Any, asked: Tokenizer) -> int:
    """Return the number of the end-of-document token.

    Raises UserError if the tokenizer has none, or a text can hold it.
    """
    mark, added = asked.end_of_document, tokenizer.get_added_tokens_decoder()
    found = tokenizer.token_to_id(mark)
    special = [token.content for token in added.values() if token.special]
    if found is None:
        similar = [t for t in tokenizer.get_vocab() if re.fullmatch(r"<.+>|\[.+\]", t)]
        named = list(dict.fromkeys(special + sorted(similar)))[:10]
        raise UserError(
            "data.tokenizer.end_of_document",
            f"is not in the vocabulary of {asked.path}, which has "
            f"{', '.join(named) if named else 'no special tokens'}",
            value=mark,
            do="set data.tokenizer.end_of_document to a token of the vocabulary",
        )
    if found not in added:
        raise _is_text(
            mark,
            asked.path,
            "it is an ordinary entry of the vocabulary, not one of its added_tokens",
            special,
        )
    if reason := _made_by_model(json.loads(tokenizer.to_str())["model"], mark):
        raise _is_text(mark, asked.path, reason, [token for token in special if token != mark])
    return found


def without_mark(parts: dict[str, Any], mark: str) -> dict[str, Any]:
    """Return a tokenizer.json, as JSON, with the same tokens, except that the mark within a text is text.

    `parts`, which may be changed, describes a tokenizer that end_of_document_id accepts.
    """
    model = parts["model"]
    vocabulary = model["vocab"]
    # Added tokens are numbered by the model's vocabulary, or else in their order, which must not change.
    if isinstance(vocabulary, list):
        known = any(entry == mark for entry, _ in vocabulary)
        model["vocab"] = [[_NO_TEXT if entry == mark else entry, score] for entry, score in vocabulary]
    else:
        known = mark in vocabulary
        model["vocab"] = {_NO_TEXT if entry == mark else entry: i for entry, i in vocabulary.items()}
    if known:
        parts["added_tokens"] = [token for token in parts["added_tokens"] if token["content"] != mark]
    for token in parts["added_tokens"]:
        token["special"] |= token["content"] == mark  # special tokens are not looked for in a text
    return parts


def _made_by_model(model: dict[str, Any], mark: str) -> str:
    """Return why the model makes the mark of text, whatever is added; empty if it does not."""
    unknown = model.get("unk_token")
    if model["type"] == "Unigram" and model["unk_id"] is not None:
        unknown = model["vocab"][model["unk_id"]][0]
    if mark == unknown:
        return "it stands for what is not in the vocabulary"
    if model.get("byte_fallback") and re.fullmatch("<0x[0-9A-F]{2}>", mark):
        return "it stands for a byte"
    if model["type"] != "BPE":
        return ""
    within = len(model.get("continuing_subword_prefix") or "")
    if any(first + second[within:] == mark for first, second in model["merges"]):
        return "it is merged from other tokens"
    letter = mark.removeprefix(model.get("continuing_subword_prefix") or "")
    letter = letter.removesuffix(model.get("end_of_word_suffix") or "")
    return "it is a character" if len(letter) <= 1 and mark in model["vocab"] else ""


def _is_text(mark: str, path: Path | None, reason: str, special: list[str]) -> UserError:
    better = f"one of its special tokens ({', '.join(special[:10])})" if special else "an added token"
    return UserError(
        "data.tokenizer.end_of_document",
        f"can occur in text, where it would end documents early: in {path} {reason}",
        value=mark,
        use=better,
    )
