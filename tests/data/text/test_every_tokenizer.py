"""What holds for every tokenizer.json, usual or not: exactly its tokens, cut or whole, and no end mark but ours."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Loaded

from slipway.data.text.config import Tokenizer
from slipway.data.text.end_mark import end_of_document_id
from slipway.data.text.fast_bpe.encode import encode_long, make_encoder
from slipway.data.text.long_documents import can_be_cut
from slipway.data.text.tokenizer import BYTE_LETTERS
from slipway.data.text.vocabulary import Vocabulary
from slipway.errors import UserError

MARK = "<q>"
LETTERS = " \n\tab1.'é<>\u0301E東▁"  # all but the mark's


def sequence(kind: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", kind: list(parts)}


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix: bool, regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def metaspace(scheme: str, cut: bool) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


BLANK_TO_LINE = replace({"String": " "}, "▁")
NORMALIZERS = [
    None,
    *(
        {"type": kind}
        for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")
    ),
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Prepend", "prepend": "▁"},
    BLANK_TO_LINE,
    replace({"String": " "}, ""),
    replace({"Regex": r"\w\s"}, "a"),
    replace({"Regex": "^"}, "b"),
    sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, BLANK_TO_LINE),  # Llama 2, Mixtral
    sequence("normalizers", {"type": "NFKC"}, {"type": "Strip", "strip_left": False, "strip_right": True}),
    sequence("normalizers", {"type": "NFD"}, {"type": "NFC"}),
    {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r'[!"#$%&'
    + r"'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = byte_level(False, False)
PRE_TOKENIZERS = [
    None,
    *(byte_level(prefix, regex) for prefix in (False, True) for regex in (False, True)),
    *(metaspace(scheme, cut) for scheme in ("always", "first", "never") for cut in (False, True)),
    sequence("pretokenizers", split(LLAMA3), BYTES),
    sequence("pretokenizers", split(LLAMA3, "Removed", True), BYTES),
    sequence("pretokenizers", split(r"\p{N}{1,3}"), split(DEEPSEEK), BYTES),
    sequence("pretokenizers", split(r"\p{N}{1,3}"), BYTES),
    sequence("pretokenizers", split(r"(?<=a) b|\s+"), BYTES),
    sequence("pretokenizers", split(LLAMA3, "MergedWithNext"), BYTES),
    sequence("pretokenizers", BYTES, split(r"\s+")),
    sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level(False, True)),
    sequence("pretokenizers", {"type": "Punctuation", "behavior": "MergedWithNext"}, byte_level(False, True)),
    sequence("pretokenizers", {"type": "WhitespaceSplit"}, metaspace("first", True)),
    {"type": "Whitespace"},
    {"type": "BertPreTokenizer"},
    {"type": "FixedLength", "length": 3},
    {"type": "UnicodeScripts"},
    {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
]
# what a text may be found to hold before anything else is done with it
ADDED = [
    {"content": "a b"},
    {"content": "  "},
    {"content": "b", "rstrip": True},
    {"content": ".", "lstrip": True},
    {"content": " a", "single_word": True},
    {"content": "é"},
    {"content": "<s>", "special": True},
]
POST_PROCESSORS = [
    None,
    {"type": "BertProcessing", "sep": [MARK, 0], "cls": [MARK, 0]},
    {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": MARK, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {MARK: {"id": MARK, "ids": [0], "tokens": [MARK]}},
    },
]
TRUNCATION = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
PADDING = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": MARK}
PADDING |= {"pad_to_multiple_of": None}

BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


@st.composite
def models(draw: Any, known: bool) -> dict[str, Any]:
    """A model with a token for everything. known: the mark is one of its entries."""
    entries = [
        *([MARK] if known else ["<none>"]),
        "<unk>",
        *BYTE_TOKENS,
        *dict.fromkeys([*LETTERS, *BYTE_LETTERS.values()]),
    ]
    kind = draw(st.sampled_from(["BPE", "BPE", "Unigram", "WordPiece", "WordLevel"]))
    merges = []
    letters = [*LETTERS, "▁", "▁", "Ġ", "Ġ", "Ċ", "<", "q", ">"]
    for _ in range(draw(st.integers(0, 12))):
        pair = draw(st.tuples(*[st.sampled_from(letters + [entry for _, _, entry in merges])] * 2))
        merged = pair[0] + pair[1]
        if merged not in entries and merged != MARK and len(merged) < 6:
            entries.append(merged)
            merges.append((*pair, merged))
    if kind == "Unigram":
        scored = [[entry, -1.0 - len(entry) / 8 if i > 1 else 0.0] for i, entry in enumerate(entries)]
        return {"type": kind, "unk_id": 1, "vocab": scored, "byte_fallback": draw(st.booleans())}
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    if kind == "WordLevel":
        return {"type": kind, "unk_token": "<unk>", "vocab": vocabulary}
    prefix = draw(st.sampled_from(["", "", "##"]))
    vocabulary |= {prefix + entry: len(entries) + i for i, entry in enumerate(entries) if prefix}
    if kind == "WordPiece":
        sizes = {"continuing_subword_prefix": prefix, "max_input_chars_per_word": 20}
        return {"type": kind, "unk_token": "<unk>", "vocab": vocabulary, **sizes}
    return {
        "type": kind,
        "unk_token": "<unk>",
        "fuse_unk": draw(st.booleans()),
        "byte_fallback": draw(st.booleans()),
        "ignore_merges": draw(st.booleans()),
        "vocab": vocabulary,
        "merges": [] if prefix else [pair[:2] for pair in merges],
        "continuing_subword_prefix": prefix or None,
    }


@st.composite
def tokenizers(draw: Any) -> Any:
    """Any tokenizer.json with the end mark as an added token, special or not, in its model's vocabulary or not."""
    model = draw(models(draw(st.booleans())))
    size = len(model["vocab"])
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "special": False}
    chosen = [
        {"content": MARK, "special": draw(st.booleans())},
        *draw(st.lists(st.sampled_from(ADDED), max_size=2)),
    ]
    ids = (
        dict(model["vocab"])
        if isinstance(model["vocab"], dict)
        else {e: i for i, (e, _) in enumerate(model["vocab"])}
    )
    added = []
    for token in {token["content"]: token for token in draw(st.permutations(chosen))}.values():
        number = ids.get(token["content"], size)
        size += number == size
        added.append({**flags, "normalized": draw(st.booleans()), "id": number, **token})
    parts = {
        "version": "1.0",
        "truncation": draw(st.sampled_from([None, TRUNCATION])),
        "padding": draw(st.sampled_from([None, PADDING])),
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "normalizer": draw(st.sampled_from(NORMALIZERS)),
        "pre_tokenizer": draw(st.sampled_from(PRE_TOKENIZERS)),
        "post_processor": draw(st.sampled_from(POST_PROCESSORS)),
        "decoder": None,
        "model": model,
    }
    return Loaded.from_str(json.dumps(parts))


# mostly words and blanks, so that there are places to cut
TEXT = st.lists(
    st.sampled_from(["a", "ab", "1b", "b11", "é"]) | st.sampled_from(LETTERS), min_size=1, max_size=30
).flatmap(lambda words: st.sampled_from(["", " ", "\n", "  "]).map(lambda blank: blank.join(words)))
ASKED = Tokenizer(kind="file", end_of_document=MARK)


def accepted(tokenizer: Any) -> int:
    """The end mark's number, where the tokenizer is not refused."""
    try:
        return end_of_document_id(tokenizer, ASKED)
    except UserError:
        assume(False)
        raise


@contextlib.contextmanager
def no_panic() -> Iterator[None]:
    """Some normalizers and pre-tokenizers do not go together in the library itself."""
    try:
        yield
    except BaseException as error:
        assume(type(error).__name__ != "PanicException")
        raise


@settings(max_examples=250, deadline=None)
@given(tokenizer=tokenizers(), text=TEXT, longest=st.integers(2, 12))
def test_exactly_its_tokens(tokenizer: Any, text: str, longest: int) -> None:
    end = accepted(tokenizer)
    encoder = make_encoder(tokenizer, end)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    with no_panic():
        expected = [*tokenizer.encode(text, add_special_tokens=False).ids, end]
    assert encoder.encode([text.encode()])[0].tolist() == expected
    assert encode_long(encoder, text.encode(), longest)[0].tolist() == expected


@settings(max_examples=120, deadline=None)
@given(tokenizer=tokenizers(), text=TEXT, place=st.integers(0, 40))
def test_a_vocabulary_makes_the_same_tokens(tokenizer: Any, text: str, place: int) -> None:
    end = accepted(tokenizer)
    text = text[:place] + MARK + text[place:]
    vocabulary = Vocabulary(Path("tokenizer.json"), tokenizer.to_str(), end, None)
    with no_panic():
        assert [*vocabulary.encode(text), end] == make_encoder(tokenizer, end).encode([text.encode()])[
            0
        ].tolist()


@settings(max_examples=120, deadline=None)
@given(tokenizer=tokenizers(), text=TEXT, place=st.integers(0, 40))
def test_a_mark_within_a_text_ends_nothing(tokenizer: Any, text: str, place: int) -> None:
    encoder = make_encoder(tokenizer, end := accepted(tokenizer))
    with no_panic():
        tokens, _ = encoder.encode([(text[:place] + MARK + text[place:]).encode()])
    assert tokens.tolist().count(end) == 1 and tokens[-1] == end


def plain(normalizer: Any, pre_tokenizer: Any, *added: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json, as far as cutting looks at it."""
    flags = dict.fromkeys(("lstrip", "rstrip", "single_word", "special", "normalized"), False)
    return {
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "added_tokens": [{**flags, **one} for one in added],
    }


@pytest.mark.parametrize(
    ("parts", "cut"),
    [
        (plain(None, byte_level(False, True)), True),  # GPT-2
        (
            plain({"type": "NFC"}, byte_level(False, True), {"content": "   ", "normalized": True}),
            True,
        ),  # GPT-NeoX
        (plain(None, sequence("pretokenizers", split(LLAMA3), BYTES)), True),
        (plain(None, sequence("pretokenizers", split(r"\p{N}{1,3}"), split(DEEPSEEK), BYTES)), True),
        (plain(None, sequence("pretokenizers", split("[0-9]"), BYTES)), False),  # words are not cut at blanks
        (
            plain(sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, BLANK_TO_LINE), None),
            False,
        ),  # Llama 2
        (plain(None, byte_level(True, True)), False),
        (plain(None, metaspace("first", True)), False),
        (plain(None, byte_level(False, True), {"content": "a b"}), False),
        (plain(None, byte_level(False, True), {"content": "a b", "special": True}), True),
    ],
)
def test_which_are_cut(parts: dict[str, Any], cut: bool) -> None:
    assert can_be_cut(parts) is cut
