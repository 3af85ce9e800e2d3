import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from slipway.data.text.fast_bpe.encode import encode_long, make_encoder
from slipway.data.text.long_documents import LONGEST_PIECE, cut_long
from slipway.data.text.tokenizer import byte_tokenizer

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@settings(max_examples=200)
@given(
    st.text(st.sampled_from(list("ab1 \n.é'東")), max_size=300).map(str.encode),
    st.integers(4, 40),
    st.integers(1, 40),
)
def test_pieces_make_up_the_document(document: bytes, longest: int, searched: int) -> None:
    pieces = cut_long(document, longest, searched)
    assert b"".join(pieces) == document
    assert all(re.search(rb"[0-9A-Za-z]$", piece) for piece in pieces[:-1])
    assert all(piece[:1] in (b" ", b"\n") for piece in pieces[1:])


def test_pieces_are_as_long_as_asked() -> None:
    pieces = cut_long(b"some words " * 1000, 100, 50)
    assert all(80 < len(piece) <= 100 for piece in pieces[:-1])
    assert cut_long(b"x" * 1000, 100, 50) == [b"x" * 1000]  # no place to cut
    assert len(cut_long(b"x" * 500 + b" y" * 50, 100, 50)) == 2


def llama3(bpe: Any) -> Any:
    tokenizer = Tokenizer.from_str(bpe.to_str())
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), bytes_only]
    )
    return tokenizer


@pytest.mark.parametrize("kind", ["GPT-2", "Llama 3", "bytes"])
def test_tokens_are_those_of_the_whole(kind: str, bpe: Any, text_maker: Callable[[int, int], str]) -> None:
    tokenizer = {
        "GPT-2": lambda: bpe,
        "Llama 3": lambda: llama3(bpe),
        "bytes": lambda: byte_tokenizer("<|end|>"),
    }[kind]()
    end = tokenizer.token_to_id("<|end|>")
    text = text_maker(1, 2000) * (3 * LONGEST_PIECE // 12000)
    document = text.encode()
    assert len(cut_long(document)) > 2
    tokens, lengths = encode_long(make_encoder(tokenizer, end), document)
    assert lengths.tolist() == [len(tokens)]
    assert np.array_equal(tokens, [*tokenizer.encode(text, add_special_tokens=False).ids, end])
