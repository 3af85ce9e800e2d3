"""Encoding of documents into tokens, many at a time. The tokens of a document do not depend on the others."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from slipway.data.text.end_mark import without_mark
from slipway.data.text.fast_bpe.characters import END
from slipway.data.text.fast_bpe.word_encoder import WordEncoder, why_slow
from slipway.data.text.long_documents import LONGEST_PIECE, can_be_cut, cut_long
from slipway.data.text.tokenizer import byte_tokenizer, count_entries


class Encoder(Protocol):
    """Encodes batches of documents with one tokenizer."""

    cuttable: bool
    """Whether a long document may be encoded in pieces."""

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of all documents [tokens], and how many each has [documents], end mark included.

        documents: valid UTF-8, not empty.
        """
        ...


def token_type(entries: int) -> type[np.unsignedinteger] | type[np.signedinteger]:
    """Return the type that stores a token, as Megatron-core's DType.optimal_dtype chooses it for a vocabulary."""
    return np.uint16 if entries < 65500 else np.int32


def make_encoder(tokenizer: Any, end_of_document: int, entries: int | None = None) -> Encoder:
    """Return the fastest encoder that gives what `tokenizer.encode(text, add_special_tokens=False)` gives.

    tokenizer: a tokenizers.Tokenizer, which is the encoder's from now on. Special tokens and the end mark that occur
        in the text are text.
    entries: what count_entries counts, where it is known.
    """
    if is_byte_level(tokenizer, end_of_document):
        return ByteEncoder()
    dtype = token_type(entries or count_entries(tokenizer))
    tokenizer = _without_mark(tokenizer, end_of_document)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    parts = _parts(tokenizer)
    if why_slow(parts) is None:
        return WordEncoder(tokenizer, parts, end_of_document, dtype)
    return PlainEncoder(tokenizer, end_of_document, dtype, can_be_cut(parts))


def reason_for_library(tokenizer: Any, end_of_document: int) -> str | None:
    """Return why the tokenizers library encodes all the text, which is slower; None if it does not."""
    if is_byte_level(tokenizer, end_of_document):
        return None
    return why_slow(_parts(_without_mark(tokenizer, end_of_document)))


def _without_mark(tokenizer: Any, end_of_document: int) -> Any:
    """Return the tokenizer, or a copy of it, for which the end mark within a text is text."""
    from tokenizers import Tokenizer as Loaded

    mark = tokenizer.get_added_tokens_decoder()[end_of_document]
    if mark.special and tokenizer.model.token_to_id(mark.content) is None:
        return tokenizer
    return Loaded.from_str(json.dumps(without_mark(json.loads(tokenizer.to_str()), mark.content)))


def _parts(tokenizer: Any) -> dict[str, Any]:
    """Return the parts of a tokenizer.json, as JSON, that decide about the encoder.

    They are all but the model, which may be large.
    """
    added = tokenizer.get_added_tokens_decoder()
    return {
        "added_tokens": [{"id": number, **token.__getstate__()} for number, token in added.items()],
        **{
            name: None if part is None else json.loads(part.__getstate__())
            for name, part in (
                ("normalizer", tokenizer.normalizer),
                ("pre_tokenizer", tokenizer.pre_tokenizer),
            )
        },
    }


def is_byte_level(tokenizer: Any, end_of_document: int) -> bool:
    """Return whether tokens 0 to 255 are the bytes, and 256 is the end mark."""
    end = tokenizer.id_to_token(end_of_document)
    return tokenizer.get_vocab_size() == 257 and tokenizer.to_str() == byte_tokenizer(end).to_str()


class ByteEncoder:
    """Bytes as tokens 0 to 255, and 256 after each document."""

    cuttable = True

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens [tokens] and their count in each document [documents], as Encoder.encode does."""
        batch = np.frombuffer(b"\xff".join([*documents, b""]), np.uint8)
        tokens = batch.astype(np.uint16)
        tokens[batch == END] = 256
        return tokens, np.array([len(document) + 1 for document in documents], np.int32)


class PlainEncoder:
    """Any tokenizer of the tokenizers library, by its own batch call."""

    def __init__(self, tokenizer: Any, end_of_document: int, dtype: type, cuttable: bool = False) -> None:
        self.cuttable = cuttable
        self.tokenizer = tokenizer
        self.end = end_of_document
        self.dtype = dtype

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens [tokens] and their count in each document [documents], as Encoder.encode does."""
        texts = [document.decode() for document in documents]
        encoded = [e.ids for e in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        tokens: list[int] = []
        for ids in encoded:
            tokens += ids
            tokens.append(self.end)
        return np.array(tokens, self.dtype), np.array([len(ids) + 1 for ids in encoded], np.int32)


def encode_long(
    encoder: Encoder, document: bytes, longest: int = LONGEST_PIECE
) -> tuple[np.ndarray, np.ndarray]:
    """Return what encoder.encode([document]) returns: tokens [tokens] and their count [1].

    The document is encoded piece by piece if the encoder allows it, so that memory does not grow with its length.
    """
    pieces = cut_long(document, longest) if encoder.cuttable else [document]
    encoded = [encoder.encode([piece])[0] for piece in pieces]
    tokens = np.concatenate([of_piece[:-1] for of_piece in encoded[:-1]] + encoded[-1:])
    return tokens, np.array([len(tokens)], np.int32)
