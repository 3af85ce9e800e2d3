"""The tokenizer of a data set: trained, of bytes, or from a file. Always a tokenizer.json in the end."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.config.schema import Source, Tokenizer
from slipway.data.inputs import InputFile
from slipway.data.sample import sample_documents, sample_size
from slipway.errors import UserError

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]

BYTE_LETTERS = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + i) for i, byte in enumerate(_OTHERS)
}
"""The characters that byte-level tokenizers write bytes as (GPT-2's table)."""


def byte_tokenizer(end_of_document: str) -> Any:
    """Tokens 0 to 255 are the bytes of UTF-8; 256 ends a document."""
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
    """One above the largest token: the rows that an embedding needs, gaps in the numbering included."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def check_asked(asked: Tokenizer) -> None:
    """Raise UserError for a tokenizer that cannot be."""
    if not asked.end_of_document:
        raise UserError("data.tokenizer.end_of_document: '' is no token; name the token that ends a document")
    if asked.kind == "bpe" and asked.vocab_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"data.tokenizer.vocab_size: {asked.vocab_size} is too small: "
            f"256 bytes + 1 end mark = {SMALLEST_VOCABULARY} at least"
        )
    if asked.kind == "file":
        if asked.path is None:
            raise UserError("data.tokenizer.path: kind=file needs the path of a tokenizer.json")
        if not asked.path.is_file():
            raise UserError(f"data.tokenizer.path: {asked.path}: no such file")


def make_tokenizer(
    asked: Tokenizer, files: Mapping[str, list[InputFile]], sources: Mapping[str, Source], threads: int
) -> str:
    """The text of tokenizer.json. Raises UserError."""
    if asked.kind != "file":
        _check_end_mark(asked.end_of_document)
    if asked.kind == "byte":
        return byte_tokenizer(asked.end_of_document).to_str()
    if asked.kind == "file":
        assert asked.path is not None
        return _read(asked.path)
    return _train(asked, files, sources, threads)


def end_of_document_id(tokenizer: Any, asked: Tokenizer) -> int:
    """Number of the token that ends a document. Raises UserError when the tokenizer has none of that name."""
    found = tokenizer.token_to_id(asked.end_of_document)
    if found is not None:
        return found
    special = [t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special]
    similar = [
        t for t in tokenizer.get_vocab() if t.startswith(("<", "[")) and t.endswith((">", "]")) and len(t) > 2
    ]
    named = list(dict.fromkeys(special + sorted(similar)))[:10]
    raise UserError(
        f"data.tokenizer.end_of_document: {asked.end_of_document} is not in the vocabulary of {asked.path}; "
        f"it has {', '.join(named) if named else 'no special tokens'}"
    )


def _check_end_mark(mark: str) -> None:
    """Raise UserError where the text could hold the mark: a word of GPT-2's pattern can become one token."""
    from tokenizers.pre_tokenizers import ByteLevel

    if len(ByteLevel(add_prefix_space=False).pre_tokenize_str(mark)) < 2:
        raise UserError(
            f"data.tokenizer.end_of_document: {mark} can be a word of the text; allowed: words and signs together, "
            f"such as <|endoftext|> or [EOS]"
        )


def _read(path: Path) -> str:
    from tokenizers import Tokenizer as Loaded

    try:
        text = path.read_bytes().decode()
        Loaded.from_str(text)
    except Exception as error:  # the library raises a bare Exception
        raise UserError(f"data.tokenizer.path: {path} is not a tokenizer.json: {error}") from error
    return text


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
            f"data.tokenizer.vocab_size: {asked.vocab_size} is too large for the text: "
            f"no pair of tokens occurs twice after {entries}; allowed: {SMALLEST_VOCABULARY} to {entries}"
        )
    return tokenizer.to_str()
