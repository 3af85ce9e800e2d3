"""Words begin exactly where the tokenizers library begins them, for each pattern that is known here."""

import json
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

from slipway.data.text.fast_bpe.characters import END, PADDING
from slipway.data.text.fast_bpe.splitting import Splitter, find_splitter

CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LAST = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"[^\r\n\p{L}\p{N}]?"
# As the published tokenizer.json files have them; transformers has the same (convert_slow_tokenizer,
# qwen2, qwen3_5, integrations/gguf).
PATTERNS = {
    "llama3": CONTRACTION + "|" + WORD + r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + LAST,
    "qwen2": CONTRACTION + "|" + WORD + r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + LAST,
    "qwen3.5": CONTRACTION + "|" + WORD + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + LAST,
    "o200k": (
        WORD + r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTION + "?|"
        + WORD + r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTION + "?"
        + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + LAST
    ),
    "tekken": (
        WORD + r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
        + WORD + r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + LAST
    ),
}  # fmt: skip
BYTES = ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = ByteLevel(add_prefix_space=False)
PRE_TOKENIZERS = {
    "gpt2": GPT2,
    "smollm": Sequence([Digits(individual_digits=True), GPT2]),
    **{name: Sequence([Split(Regex(pattern), "isolated"), BYTES]) for name, pattern in PATTERNS.items()},
}
SPLITTERS = {name: find_splitter(json.loads(part.__getstate__())) for name, part in PRE_TOKENIZERS.items()}

# One character or two of each class, and those that a pattern names.
FEW = list("aEßǅʰ東7'sLrvE./\u0301\u0903 \t\u3000\n\r")
SOME = list(
    " \t\n\r\x0b\x1c\x1f\x85\u00a0\u2003\u3000'sdmtlvreLEſ0a9_.é½²Ⅷ٣東🚀\u0301\u200d\ufe0f\ufeff\x00\u0378/ǅʰ❤"
)
PIECES = ["'s", "'t", "'ll", "'ve", "'rE", "'M", "'d", "  ", " \n", "ab", "AB", "12", "\n/", "\r\n", "'ſ"]
TEXT = st.lists(
    st.text(st.sampled_from(FEW), min_size=1, max_size=30)
    | st.lists(
        st.sampled_from(SOME + PIECES) | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30
    ).map("".join),
    min_size=1,
    max_size=5,
)


def cut(splitter: Splitter, documents: list[str]) -> list[bytes]:
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
@settings(max_examples=int(os.environ.get("N", 200)), deadline=None)
@given(documents=TEXT)
def test_cuts_where_the_library_cuts(name: str, documents: list[str]) -> None:
    assert cut(SPLITTERS[name], documents) == words_of(PRE_TOKENIZERS[name], documents)
