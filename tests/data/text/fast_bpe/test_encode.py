import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from slipway.data.text.fast_bpe.encode import ByteEncoder, PlainEncoder, WordEncoder, make_encoder, token_type
from slipway.data.text.tokenizer import byte_tokenizer

DOCUMENTS = st.lists(
    st.text(
        st.sampled_from(list(" \n\t'stelrvem09_.é²東🚀\u00a0")) | st.characters(exclude_categories=["Cs"]),
        min_size=1,
        max_size=60,
    ),
    min_size=1,
    max_size=6,
)


def one_by_one(tokenizer: Any, documents: list[str], end: int) -> list[list[int]]:
    return [[*tokenizer.encode(document, add_special_tokens=False).ids, end] for document in documents]


def encoded(encoder: Any, documents: list[str]) -> list[list[int]]:
    tokens, lengths = encoder.encode([document.encode() for document in documents])
    assert lengths.sum() == len(tokens)
    return [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]


# 3: most words find no room at all.
@pytest.mark.parametrize("most_words", [3, 12, 1000])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(documents=DOCUMENTS, more=DOCUMENTS)
def test_memory_of_words_is_exact(bpe: Any, most_words: int, documents: list[str], more: list[str]) -> None:
    encoder = WordEncoder(bpe, json.loads(bpe.to_str()), 0, np.uint16, most_words)
    for batch in (documents, more, documents):
        assert encoded(encoder, batch) == one_by_one(bpe, batch, 0)
        assert encoder.memory.known <= most_words


def test_memory_of_words_on_texts(bpe: Any, texts: list[str]) -> None:
    encoder = make_encoder(bpe, 0)
    assert isinstance(encoder, WordEncoder)
    long = ["x" * 100 + " " + "=" * 16 + " " + "y" * 15 + " " + "z" * 16]
    for _ in range(2):  # with an empty and with a full memory
        assert encoded(encoder, texts + long) == one_by_one(bpe, texts + long, 0)


def test_end_mark_in_the_text_is_text(bpe: Any) -> None:
    [tokens] = encoded(make_encoder(bpe, 0), ["a<|end|>b"])
    assert tokens.count(0) == 1 and tokens[-1] == 0


def changed(tokenizer: Any, **changes: Any) -> Any:
    parts = json.loads(tokenizer.to_str())
    for path, value in changes.items():
        *parents, last = path.split("__")
        section = parts
        for name in parents:
            section = section[name]
        section[last] = value
    return Tokenizer.from_str(json.dumps(parts))


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer__add_prefix_space": True},
        {"pre_tokenizer__use_regex": False},
        {"pre_tokenizer": {"type": "Whitespace"}},
    ],
)
def test_other_kinds_go_through_the_library(bpe: Any, changes: dict[str, Any]) -> None:
    encoder = make_encoder(changed(bpe, **changes), 0)
    assert isinstance(encoder, PlainEncoder)


def test_a_mark_that_is_not_special_keeps_the_fast_path(bpe: Any) -> None:
    parts = json.loads(bpe.to_str())
    parts["added_tokens"][0]["special"] = False
    encoder = make_encoder(Tokenizer.from_str(json.dumps(parts)), 0)
    assert isinstance(encoder, WordEncoder)
    assert encoded(encoder, ["a<|end|>b"]) == encoded(make_encoder(bpe, 0), ["a<|end|>b"])


def test_library_path_agrees_with_one_by_one(bpe: Any, texts: list[str]) -> None:
    split = pre_tokenizers.Split(Regex(r"\s+|\S+"), "isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer.from_str(bpe.to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])  # as Llama 3's
    encoder = make_encoder(tokenizer, 0)
    assert isinstance(encoder, PlainEncoder)
    assert encoded(encoder, texts) == one_by_one(tokenizer, texts, 0)


@settings(max_examples=100)
@given(DOCUMENTS)
def test_bytes(documents: list[str]) -> None:
    tokenizer = byte_tokenizer("<|end|>")
    encoder = make_encoder(tokenizer, 256)
    assert isinstance(encoder, ByteEncoder)
    assert encoded(encoder, documents) == [[*document.encode(), 256] for document in documents]
    assert encoded(encoder, documents) == one_by_one(tokenizer, documents, 256)


@pytest.mark.parametrize(
    ("entries", "dtype"), [(257, "uint16"), (65499, "uint16"), (65500, "int32"), (128256, "int32")]
)
def test_token_type(entries: int, dtype: str) -> None:
    assert token_type(entries).__name__ == dtype
