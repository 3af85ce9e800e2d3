import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from slipway.data.text.fast_bpe.words import END, PADDING, word_starts

# Characters that the pattern treats apart, more often than chance gives them.
TRICKY = st.sampled_from(
    list(" \t\n\r\x0b\x1c\x1f\x85\u00a0\u2003\u3000'sdmtlvreLE0a9_.é½²Ⅷ٣東🚀\u0301\u200d\ufeff\x00\u0378")
)
PIECES = st.sampled_from(["'s", "'t", "'ll", "'ve", "'re", "'m", "'d", "  ", " \n", "ab", "12"]) | TRICKY
TEXT = st.lists(
    st.lists(PIECES | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).map("".join),
    min_size=1,
    max_size=5,
)


def words_of(document: str) -> list[bytes]:
    """As the tokenizers library cuts them."""
    spans = ByteLevel(add_prefix_space=False).pre_tokenize_str(document)
    return [document[start:stop].encode() for _, (start, stop) in spans]


@settings(max_examples=400)
@given(TEXT)
def test_cuts_where_the_library_cuts(documents: list[str]) -> None:
    raw = b"".join(document.encode() + bytes([END]) for document in documents)
    padded = np.frombuffer(raw + bytes([END]) * PADDING, np.uint8)
    starts = word_starts(padded[: len(raw)])
    cut = [raw[a:b] for a, b in zip(starts, [*starts[1:], len(raw)], strict=True)]
    assert cut == [word for document in documents for word in [*words_of(document), bytes([END])]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I'll'vexit'sx", [b"I", b"'ll", b"'ve", b"xit", b"'s", b"x"]),
        ("it's we'll", [b"it", b"'s", b" we", b"'ll"]),
        ("a   b", [b"a", b"  ", b" b"]),
        ("a \n b", [b"a", b" \n", b" b"]),
        ("a\n", [b"a", b"\n"]),
        (" 'tis", [b" '", b"tis"]),
        ("x²1", [b"x", "²1".encode()]),
    ],
)
def test_known_cuts(text: str, words: list[bytes]) -> None:
    raw = text.encode() + bytes([END])
    starts = word_starts(np.frombuffer(raw + bytes([END]) * PADDING, np.uint8)[: len(raw)])
    assert [raw[a:b] for a, b in zip(starts, [*starts[1:], len(raw)], strict=True)][:-1] == words
