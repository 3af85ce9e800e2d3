"""The tokenizer of a data set: trained, of bytes, or from a file. It always becomes a tokenizer.json."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.end_mark import check_new_mark
from slipway.data.text.inputs import InputFile
from slipway.data.text.sample import sample_documents, sample_size
from slipway.errors import UserError

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]

BYTE_LETTERS = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + i) for i, byte in enumerate(_OTHERS)
}
"""The characters that byte-level tokenizers write bytes as (GPT-2's table)."""


def byte_tokenizer(end_of_document: str) -> Any:
    """Return a tokenizer whose tokens 0 to 255 are the bytes of UTF-8; 256 ends a document."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.BPE(vocab={letter: byte for byte, letter in BYTE_LETTERS.items()}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(end_of_document, special=True, normalized=False)])
    return tokenizer


SMALLEST_VOCABULARY = 257
"""Bytes and the end mark."""


def count_entries(tokenizer: Any) -> int:
    """Return one more than the largest token: the rows of an embedding, gaps in the numbering included."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def check_asked(asked: Tokenizer) -> None:
    """Raise UserError if the tokenizer's settings are not valid."""
    if not asked.end_of_document:
        raise UserError(
            "data.tokenizer.end_of_document",
            "is not a token",
            value="",
            do="name the token that ends a document",
        )
    if asked.kind == "bpe" and asked.vocab_size < SMALLEST_VOCABULARY:
        raise UserError(
            "data.tokenizer.vocab_size",
            f"is too small: 256 bytes + 1 end mark = {SMALLEST_VOCABULARY}",
            value=asked.vocab_size,
            use=f"at least {SMALLEST_VOCABULARY}",
        )
    if asked.kind == "file":
        if asked.path is None:
            raise UserError(
                "data.tokenizer.path",
                "is missing, but kind=file needs the path of a tokenizer.json",
                do="set data.tokenizer.path=FILE",
            )
        if not asked.path.is_file():
            raise UserError(
                "data.tokenizer.path",
                "does not exist",
                value=asked.path,
                do="name an existing tokenizer.json",
            )


def make_tokenizer(
    asked: Tokenizer, files: Mapping[str, list[InputFile]], sources: Mapping[str, Source], threads: int
) -> str:
    """Return the text of tokenizer.json. Raises UserError if the tokenizer cannot be trained or read."""
    if asked.kind != "file":
        check_new_mark(asked.end_of_document)
    if asked.kind == "byte":
        return byte_tokenizer(asked.end_of_document).to_str()
    if asked.kind == "file":
        assert asked.path is not None
        return _read(asked.path)
    return _train(asked, files, sources, threads)


@contextmanager
def library_errors(path: str, problem: str) -> Iterator[None]:
    """Raise an error of the tokenizers library as a UserError, with its reason after `problem`."""
    try:
        yield
    except BaseException as error:
        # It raises a bare Exception; where it panics, a PanicException, which is none.
        if type(error) is Exception or type(error).__name__ == "PanicException":
            raise UserError(
                path, f"{problem}: {error}", do="use a tokenizer.json that the tokenizers library loads"
            ) from error
        raise


def _read(path: Path) -> str:
    from tokenizers import Tokenizer as Loaded

    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UserError(
            "data.tokenizer.path",
            f"cannot be read: {error.strerror}",
            value=path,
            do="make it readable, or name another file",
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            "data.tokenizer.path", f"is not a tokenizer.json: {error}", value=path, do="name a tokenizer.json"
        ) from error
    with library_errors("data.tokenizer.path", f"{path} is not a tokenizer.json"):
        parts = json.loads(Loaded.from_str(text).to_str())
    if parts["model"].get("dropout"):
        raise UserError(
            "data.tokenizer.path",
            f"chooses tokens at random (model.dropout {parts['model']['dropout']}), so the same text would give "
            "other tokens each time",
            value=path,
            use="a tokenizer with model.dropout null",
        )
    if lost := _left_out(parts):
        raise UserError(
            "data.tokenizer.path",
            f"drops what it does not know: it has no model.unk_token and {lost}",
            value=path,
            use="a tokenizer with a token for everything",
        )
    return text


def _left_out(parts: dict[str, Any]) -> str:
    """Return what a tokenizer.json, as JSON, has no token for and would silently leave out; empty if nothing."""
    model = parts["model"]
    if model["type"] != "BPE" or model["unk_token"]:
        return ""  # the others raise an error
    every = [byte for byte in range(256) if byte not in (0xC0, 0xC1, *range(0xF5, 0x100))]  # in UTF-8
    if model["byte_fallback"]:
        missing = [byte for byte in every if f"<0x{byte:02X}>" not in model["vocab"]]
    elif '{"type": "ByteLevel"' in json.dumps([parts["normalizer"], parts["pre_tokenizer"]]):
        missing = [byte for byte in every if BYTE_LETTERS[byte] not in model["vocab"]]
    else:
        return "no bytes to fall back on"
    return f"lacks {len(missing)} of the bytes, the first {missing[0]:#04x}" if missing else ""


def _train(
    asked: Tokenizer, files: Mapping[str, list[InputFile]], sources: Mapping[str, Source], threads: int
) -> str:
    os.environ["RAYON_NUM_THREADS"] = str(min(threads, 4))  # its steps are too short for more
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from tokenizers import Tokenizer as Trained
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = Trained(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=asked.vocab_size,
        min_frequency=2,
        special_tokens=[asked.end_of_document],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    try:
        tokenizer.train_from_iterator(
            sample_documents(files, sources, sample_size(asked.vocab_size)), trainer
        )
    finally:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    entries = tokenizer.get_vocab_size()
    if entries < asked.vocab_size:
        raise UserError(
            "data.tokenizer.vocab_size",
            f"is too large for the text: no pair of tokens occurs twice after {entries}",
            value=asked.vocab_size,
            use=f"{SMALLEST_VOCABULARY} to {entries}",
        )
    return tokenizer.to_str()
