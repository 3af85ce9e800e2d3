"""Tokenizers like published ones give exactly their library's tokens, by the memory of words."""

import random
import sysconfig
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers.normalizers import NFC

from breadth import ALL
from slipway.bench.vocabularies import END_OF_DOCUMENT, PUBLISHED, train
from slipway.data.text.fast_bpe import rewriting
from slipway.data.text.fast_bpe.encode import encode_long, make_encoder
from slipway.data.text.fast_bpe.word_encoder import WordEncoder

ADDED = [content for kind in PUBLISHED.values() for content in (*kind.special[:5], *kind.found)]
# Characters that compose, that NFC replaces or reorders, and that others are after.
COMPOSED = list(
    "eéE\u0301\u0323\u0338<>\u212b\u2126\u1100\u1161\u11a8가각\u0958\u0915\u093c\u09c7\u09be\ufb1d\U0001d15e"
)
PIECE = (
    st.sampled_from(ADDED)
    | st.sampled_from(
        [END_OF_DOCUMENT, "<tool_call", "think>", " " * 5, " " * 30, "  \n", "'s", "'LL", "12345"]
    )
    | st.text(st.sampled_from(COMPOSED), min_size=1, max_size=4)
    | st.sampled_from(list(" \t\n\raB1.é東🚀❤\ufe0f|"))
    | st.characters(exclude_categories=["Cs"])
)
DOCUMENTS = st.lists(st.lists(PIECE, min_size=1, max_size=12).map("".join), min_size=1, max_size=5)


@pytest.fixture(scope="session")
def published(texts: list[str]) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        # A process whose children train tokenizers must not have the library's threads itself.
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        return {name: train(kind, iter(texts), 900) for name, kind in PUBLISHED.items()}


def encoder_of(tokenizer: Any) -> WordEncoder:
    encoder = make_encoder(
        type(tokenizer).from_str(tokenizer.to_str()), tokenizer.token_to_id(END_OF_DOCUMENT)
    )
    assert isinstance(encoder, WordEncoder) and encoder.cuttable
    return encoder


def expected(tokenizer: Any, documents: list[str]) -> list[int]:
    tokenizer.encode_special_tokens = True
    end = tokenizer.token_to_id(END_OF_DOCUMENT)
    return [
        token
        for document in documents
        for token in [*tokenizer.encode(document, add_special_tokens=False).ids, end]
    ]


@pytest.mark.parametrize("name", PUBLISHED)
@settings(max_examples=2000 if ALL else 80, deadline=None)
@given(documents=DOCUMENTS, longest=st.integers(2, 30))
def test_gives_the_librarys_tokens(
    published: dict[str, Any], name: str, documents: list[str], longest: int
) -> None:
    encoder = encoder_of(published[name])
    tokens, lengths = encoder.encode([document.encode() for document in documents])
    assert tokens.tolist() == expected(published[name], documents)
    assert lengths.sum() == len(tokens) and len(lengths) == len(documents)
    pieces = encode_long(encoder, documents[0].encode(), longest)[0]
    assert pieces.tolist() == expected(published[name], documents[:1])


@pytest.mark.parametrize("name", PUBLISHED)
def test_on_texts(published: dict[str, Any], name: str, texts: list[str]) -> None:
    """Source code and text of many scripts; the whole standard library and texts of all Unicode where all is tested."""
    documents = list(texts)
    if ALL:
        documents += [
            path.read_text(encoding="utf-8")
            for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        ]
        draw = random.Random(1)
        blocks = [
            range(start, start + 256) for start in (*range(0, 0xD800, 256), *range(0xE000, 0x20000, 256))
        ]
        for _ in range(3000):
            some = [chr(draw.choice(draw.choice(blocks))) for _ in range(6)]
            documents.append("".join(draw.choice([*some, *"   \n'sE1."]) for _ in range(200)))
    encoder, raw = encoder_of(published[name]), [document.encode() for document in documents]
    for _ in range(2):  # with an empty and with a full memory
        found = np.concatenate([encoder.encode(raw[i : i + 50])[0] for i in range(0, len(raw), 50)])
        assert found.tolist() == expected(published[name], documents)


CONTENTS = st.text(st.sampled_from("ab "), min_size=1, max_size=4)


@settings(max_examples=1000 if ALL else 60, deadline=None)
@given(
    added=st.dictionaries(CONTENTS, st.tuples(st.booleans(), st.booleans()), max_size=6),
    text=st.text("ab ", max_size=40),
)
def test_finds_the_longest_of_added_tokens(
    published: dict[str, Any], added: dict[str, Any], text: str
) -> None:
    """Special or not, found in the text or in its normal form, also where they overlap."""
    tokenizer = type(published["qwen"]).from_str(published["qwen"].to_str())
    for content, (special, normalized) in added.items():
        tokenizer.add_tokens([AddedToken(content, special=special, normalized=normalized)])
    encoder = make_encoder(
        type(tokenizer).from_str(tokenizer.to_str()), tokenizer.token_to_id(END_OF_DOCUMENT)
    )
    assert isinstance(encoder, WordEncoder)
    assert encoder.encode([f"a{text}".encode()])[0].tolist() == expected(tokenizer, [f"a{text}"])


def test_what_may_change_in_nfc() -> None:
    """Characters that are said not to change stand beside any other as they are."""
    points = [point for point in range(0x20000) if not 0xD800 <= point < 0xE000]
    safe = {chr(point) for point in points if not rewriting._may_change(point)}
    assert {"é", "가", "東", "\ufe0f"} < safe
    assert not {"\u0301", "\u05b0", "\u1161", "\u11a8", "\u09be", "\u212b", "\u0958", "\u0378"} & safe
    text = "".join(sorted(safe))
    assert unicodedata.normalize("NFC", text) == text == NFC().normalize_str(text)
    seconds = {chr(point) for point in rewriting._seconds()}
    assert not seconds & safe
    for character in map(chr, range(0x110000)):
        parts = unicodedata.normalize("NFD", character)
        if len(parts) > 1 and unicodedata.normalize("NFC", parts) == character:
            assert parts[-1] in seconds, hex(ord(character))
