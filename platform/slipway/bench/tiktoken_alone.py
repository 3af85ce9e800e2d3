"""tiktoken's encoding of texts in memory, one after the other, with which preparation is compared."""

import gc
import json
import time
import unicodedata
from pathlib import Path
from typing import Any


def why_not(folder: Path) -> str | None:
    """Return why tiktoken cannot produce the tokens of folder/tokenizer.json for folder/text.jsonl; None if it can."""
    try:
        import tiktoken  # noqa: F401
    except ModuleNotFoundError:
        return "it is not installed (pip install tiktoken)"
    parts = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if parts["model"]["type"] != "BPE" or _pattern(parts) is None:
        return "it has only byte-level BPE with one pattern"
    if (parts["normalizer"] or {"type": "NFC"})["type"] != "NFC":
        return "it has no normalizer"
    found = [token["content"] for token in parts["added_tokens"] if not token["special"]]
    if any(content in text for text in _texts(folder) for content in found):
        return "it does not find the added tokens that occur in the text"
    return None


def timed(folder: Path, entries: int, end: int, tokens: Path | None) -> float:
    """Return the seconds of processor time for encoding all texts.

    tokens: the .bin that holds the tokens of all, each text followed by `end`; compared if it is given.
    """
    import numpy as np

    from slipway.data.text.fast_bpe.encode import token_type

    parts = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    encoding, texts = _encoding(parts), _texts(folder)
    if parts["normalizer"]:
        texts = [unicodedata.normalize("NFC", text) for text in texts]
    gc.freeze()  # as in bench.data
    started = time.process_time()
    for text in texts:
        encoding.encode_ordinary(text)
    taken = time.process_time() - started
    if tokens is not None:
        ids = [token for text in texts for token in [*encoding.encode_ordinary(text), end]]
        same = np.array_equal(np.array(ids), np.fromfile(tokens, token_type(entries)))
        assert same, "tiktoken gave other tokens than the reference"
    return taken


def _texts(folder: Path) -> list[str]:
    with open(folder / "text.jsonl", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def _pattern(parts: dict[str, Any]) -> str | None:
    """Return the regular expression that cuts words, as tiktoken takes it; None if there is not one."""
    from tiktoken_ext.openai_public import r50k_pat_str

    cut = parts["pre_tokenizer"] or {"type": None}
    match cut.get("pretokenizers", [cut]):
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:
            return r50k_pat_str
        case [{"type": "Split", "pattern": {"Regex": pattern}}, {"type": "ByteLevel", "use_regex": False}]:
            return pattern
    return None


def _encoding(parts: dict[str, Any]) -> Any:
    import tiktoken

    from slipway.data.text.tokenizer import BYTE_LETTERS

    byte_of = {letter: byte for byte, letter in BYTE_LETTERS.items()}
    added = {token["content"] for token in parts["added_tokens"]}
    ranks = {
        bytes(byte_of[letter] for letter in entry): number
        for entry, number in parts["model"]["vocab"].items()
        if entry not in added
    }
    pattern = _pattern(parts)
    assert pattern is not None
    return tiktoken.Encoding("bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
