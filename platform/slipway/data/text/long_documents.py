r"""Cutting long documents into pieces that have the tokens of the whole, if the tokenizer allows it.

A cut lies between an ASCII letter or digit and a blank or line feed. The tokens on both sides are those of the whole
where three things hold:
- nothing is done at the beginning or end of a text: no blank put in front, no space stripped;
- what changes characters keeps these and looks at no neighbours across them, as Unicode's normal forms do;
- words end there whatever is around, so that the model never sees both sides.
This is known of the kinds below. Documents of any other tokenizer are encoded whole, which takes memory instead.
"""

import re
from typing import Any

LONGEST_PIECE = 1 << 20
"""Bytes of a document that are encoded at once if it can be cut."""

_CUT = re.compile(rb"(?<=[0-9A-Za-z])[ \n]")

_NORMAL_FORMS = ("NFC", "NFD", "NFKC", "NFKD")

# Alternatives of the patterns of GPT-2, GPT-4 (cl100k), GPT-4o (o200k), Llama 3 and 4, Qwen, Mistral (Tekken) and
# DeepSeek. None matches a letter or digit with white space after it; none looks back, or ahead from a letter or digit.
_ALTERNATIVES = frozenset(
    r"""
's
't
're
've
'm
'll
'd
'(?:[sdmt]|ll|ve|re)
'(?i:[sdmt]|ll|ve|re)
(?i:'s|'t|'re|'ve|'m|'ll|'d)
 ?\p{L}+
\p{L}+
[^\r\n\p{L}\p{N}]?\p{L}+
[^\r\n\p{L}\p{N}]?+\p{L}+
[^\r\n\p{L}\p{N}]?+\p{L}++
[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+
[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+
[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*
[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+
[一-龥぀-ゟ゠-ヿ]+
 ?\p{N}+
\p{N}+
\p{N}
\p{N}{1,3}
\p{N}{1,3}+
[0-9]
 ?[^\s\p{L}\p{N}]+
 ?[^\s\p{L}\p{N}]+[\r\n]*
 ?[^\s\p{L}\p{N}]++[\r\n]*
 ?[^\s\p{L}\p{N}]++[\r\n]*+
 ?[^\s\p{L}\p{N}]+[\r\n/]*
 ?[\p{P}\p{S}]+[\r\n]*
\s*[\r\n]
\s*[\r\n]+
\s++$
\s+(?!\S)
\s+
\s
""".splitlines()[1:]
)
_ANY_SPACE = frozenset((r"\s+", r"\s"))


def can_be_cut(parts: dict[str, Any]) -> bool:
    """Return whether pieces are known to have the tokens of the whole, for a tokenizer.json given as JSON."""
    normalizers = steps(parts["normalizer"], "normalizers")
    if not all(one["type"] in _NORMAL_FORMS for one in normalizers):
        return False
    if not all(_stays_within(token) for token in parts["added_tokens"] if not token["special"]):
        return False
    words_end = False
    for one in steps(parts["pre_tokenizer"], "pretokenizers"):
        kind = one["type"]
        if kind not in ("ByteLevel", "Split", "Digits", "Punctuation"):
            return False
        if words_end:
            continue  # each word is now treated for itself
        if kind == "ByteLevel":
            # without its pattern, it only writes bytes as letters: what follows would see no white space any more
            if one["add_prefix_space"] or not one.get("use_regex", True):
                return False
            words_end = True
        elif kind == "Split":
            found = _alternatives(one)
            if not found <= _ALTERNATIVES:
                return False
            words_end = bool(found & _ANY_SPACE)
    return words_end


def cut_long(document: bytes, longest: int = LONGEST_PIECE, searched: int = 1 << 16) -> list[bytes]:
    """Return a document in pieces of at most about `longest` bytes."""
    pieces = []
    start = 0
    while len(document) - start > longest:
        limit = start + longest
        before = [found.start() for found in _CUT.finditer(document, max(start + 1, limit - searched), limit)]
        after = None if before else _CUT.search(document, limit)
        if not before and not after:
            break
        stop = before[-1] if before else after.start()  # type: ignore[union-attr]
        pieces.append(document[start:stop])
        start = stop
    return [*pieces, document[start:]]


def steps(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Return the steps of a normalizer or pre-tokenizer, in order."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [inner for one in part[name] for inner in steps(one, name)]
    return [part]


def _stays_within(token: dict[str, Any]) -> bool:
    """Return whether an added token is found on one side of a cut, whatever is on the other."""
    content = token["content"]
    looks_around = token["lstrip"] or token["rstrip"] or token["single_word"]
    as_it_is = not token["normalized"] or content.isascii()
    return as_it_is and not looks_around and not _CUT.search(content.encode())


def _alternatives(split: dict[str, Any]) -> set[str]:
    """Return the alternatives of a pattern whose matches become words; {""}, an unknown one, for another rule."""
    pattern = split["pattern"].get("Regex")
    if pattern is None or (split["behavior"], split["invert"]) not in (
        ("Isolated", False),
        ("Removed", True),
    ):
        return {""}
    found, depth, in_class = [""], 0, False
    for piece in re.findall(r"\\.|.", pattern, re.DOTALL):
        if piece == "|" and not depth and not in_class:
            found.append("")
            continue
        depth += 0 if in_class else (piece == "(") - (piece == ")")
        in_class = piece != "]" if in_class else piece == "["
        found[-1] += piece
    return set(found)
