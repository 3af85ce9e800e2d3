"""Words begin exactly where the tokenizers library begins them, for each pattern that is known here."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

from breadth import ALL
from slipway.data.text.fast_bpe.characters import END, PADDING
from slipway.data.text.fast_bpe.splitting import Splitter, find_splitter

CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LAST = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"[^\r\n\p{L}\p{N}]?"
CAPITALS, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
# As the published tokenizer.json files have them; transformers has the same (convert_slow_tokenizer, models/qwen2,
# models/qwen3_5, integrations/gguf).
PATTERNS = {
    "llama3": rf"{CONTRACTION}|{WORD}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{LAST}",
    "qwen2": rf"{CONTRACTION}|{WORD}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{LAST}",
    "qwen3.5": rf"{CONTRACTION}|{WORD}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*{LAST}",
    "o200k": (
        f"{WORD}{CAPITALS}*{SMALL}+{CONTRACTION}?|{WORD}{CAPITALS}+{SMALL}*{CONTRACTION}?"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{LAST}"
    ),
    "tekken": (
        f"{WORD}{CAPITALS}*{SMALL}+|{WORD}{CAPITALS}+{SMALL}*"
        rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{LAST}"
    ),
}
BYTES = ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = ByteLevel(add_prefix_space=False)
PRE_TOKENIZERS = {
    "gpt2": GPT2,
    "smollm": Sequence([Digits(individual_digits=True), GPT2]),
    **{name: Sequence([Split(Regex(pattern), "isolated"), BYTES]) for name, pattern in PATTERNS.items()},
}
SPLITTERS = {name: find_splitter(json.loads(part.__getstate__())) for name, part in PRE_TOKENIZERS.items()}

# A character or two of each class, and those that a pattern names.
FEW = list("aEßǅʰ東7'sLrvE./\u0301\u0903 \t\u3000\n\r")
MORE = list(
    " \t\n\r\x0b\x1c\x1f\x85\u00a0\u2003\u3000'sdmtlvreLEſ0a9_.é½²Ⅷ٣東🚀❤\u0301\u200d\ufe0f\ufeff\x00\u0378/ǅʰ"
)
PIECES = ["'s", "'t", "'ll", "'ve", "'rE", "'M", "'d", "  ", " \n", "ab", "AB", "12", "\n/", "\r\n", "'ſ"]
ANY = st.sampled_from(MORE + PIECES) | st.characters(exclude_categories=["Cs"])
TEXT = st.lists(
    st.text(st.sampled_from(FEW), min_size=1, max_size=30)
    | st.lists(ANY, min_size=1, max_size=30).map("".join),
    min_size=1,
    max_size=5,
)


def cut(splitter: Splitter | None, documents: list[str]) -> list[bytes]:
    assert splitter is not None
    raw = b"".join(document.encode() + bytes([END]) for document in documents)
    padded = np.frombuffer(raw + bytes([END]) * PADDING, np.uint8)
    starts = splitter.word_starts(padded[: len(raw)]).tolist()
    return [raw[a:b] for a, b in zip(starts, [*starts[1:], len(raw)], strict=True)]


def words_of(pre_tokenizer: Any, documents: list[str]) -> list[bytes]:
    """As the tokenizers library cuts them."""
    words = []
    for document in documents:
        words += [document[a:b].encode() for _, (a, b) in pre_tokenizer.pre_tokenize_str(document)]
        words.append(bytes([END]))
    return words


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
@settings(max_examples=3000 if ALL else 100, deadline=None)
@given(documents=TEXT)
def test_cuts_where_the_library_cuts(name: str, documents: list[str]) -> None:
    assert cut(SPLITTERS[name], documents) == words_of(PRE_TOKENIZERS[name], documents)


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_short_text(name: str) -> None:
    """All there is of 12 characters, one for what each rule looks at; 3 of them at a time, 5 where all is tested."""
    for length in range(1, 6 if ALL else 4):
        texts = map("".join, itertools.product("aEʰ7's/\u0301! \t\n", repeat=length))
        while documents := list(itertools.islice(texts, 10_000)):
            assert cut(SPLITTERS[name], documents) == words_of(PRE_TOKENIZERS[name], documents)


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_character(name: str) -> None:
    """Each character (of 64, where not all is tested, one) between letters: it is in the class that the library has."""
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    documents = [f"a{chr(point)}a {chr(point)}\n" for point in points[:: 1 if ALL else 64]]
    assert cut(SPLITTERS[name], documents) == words_of(PRE_TOKENIZERS[name], documents)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gpt2", "I'll'vexit'sx", "I|'ll|'ve|xit|'s|x"),
        ("gpt2", "a   b", "a|  | b"),
        ("gpt2", "a \n b", "a| \n| b"),
        ("gpt2", " 'tis", " '|tis"),
        ("smollm", "x  12 3", "x|  |1|2| |3"),
        ("llama3", 'I\'LL "go" 12345', 'I|\'LL| "|go|"| |123|45'),
        ("llama3", "a);\n\n\tif x  \n  y", "a|);\n\n|\tif| x|  \n| | y"),
        ("qwen2", "12", "1|2"),
        ("o200k", "HTTPServer's 日本ABC", "HTTPServer's| 日本|ABC"),
        ("o200k", "*/\n//x", "*/\n//|x"),
        ("o200k", "!\n//\u0301\u0301a a\n//\u0301", "!\n//|\u0301\u0301a| a|\n|//\u0301"),
        ("o200k", "a's't'm", "a's|'t'm"),
        ("o200k", "a's東Ab b東Ab", "a's|東Ab| b東|Ab"),
        ("tekken", "don't", "don|'t"),
    ],
)
def test_known_cuts(name: str, text: str, words: str) -> None:
    assert cut(SPLITTERS[name], [text]) == words_of(PRE_TOKENIZERS[name], [text])
    assert cut(SPLITTERS[name], [text])[:-1] == [word.encode() for word in words.split("|")]


def test_other_patterns_are_not_known() -> None:
    part = json.loads(PRE_TOKENIZERS["llama3"].__getstate__())
    assert find_splitter(part) is not None
    part["pretokenizers"][0]["pattern"]["Regex"] += r"|\d"
    assert find_splitter(part) is None
    assert find_splitter(None) is None
