r"""The beginnings of words by GPT-4o's pattern (o200k), which also cuts before capitals; see `words`.

Marks (`\p{M}`) are both letters and signs to it.
"""

import re

import numpy as np

from slipway.data.text.fast_bpe.characters import (
    BORDER,
    LETTER,
    LOWER,
    MARK,
    NEWLINE,
    NUMBER,
    OTHER,
    SPACE,
    UPPER,
    Characters,
)
from slipway.data.text.fast_bpe.words import (
    borders,
    contraction_lengths,
    cut_contractions,
    cut_numbers,
    cut_spaces,
    join_sign,
    run_begins,
    shifted,
)

GPT4O_ALPHABET = (
    (r"[\p{Lu}\p{Lt}]", UPPER),
    (r"\p{Ll}", LOWER),
    (r"\p{L}", LETTER),
    (r"\p{M}", MARK),
    (r"\p{N}", NUMBER),
    (r"[\r\n]", NEWLINE),
    (r"\s", SPACE),
)

_QUOTE, _BLANK, _SLASH = b"' /"


def gpt4o_words(text: Characters, digits: int, contractions: bool) -> np.ndarray:
    r"""Return where words of GPT-4o's pattern begin, [characters] bool, with or without contractions.

    `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
    |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
    |\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`.
    """
    cases = _without_marks(text)
    classes = np.where((cases == UPPER) | (cases == LOWER), LETTER, cases).astype(np.uint8)
    starts = borders(classes, text)
    cut_spaces(starts, classes, text)
    _join_slashes(starts, classes, text)
    cut_numbers(starts, classes, digits)
    alone = join_sign(starts, classes)
    if not contractions:
        _cut_cases(starts, cases, np.zeros(0, np.int64))
        return starts
    quotes = alone[(text.symbols[alone] == _QUOTE) & (classes[alone - 1] == LETTER)]
    lengths = contraction_lengths(text.symbols, quotes, ignore_case=True)
    quotes, lengths = quotes[lengths > 0], lengths[lengths > 0]
    free = _every_other(quotes, quotes + lengths + 1)
    quotes, lengths = quotes[free], lengths[free]
    _cut_cases(starts, cases, quotes + lengths + 1)
    starts[quotes] = False
    cut_contractions(starts, quotes, lengths)
    return starts


_SIGNS_AND_MARKS = re.compile(rb"%c+%c[%c%c]*" % (OTHER, MARK, OTHER, MARK))
_SIGN_WITH_MARKS = re.compile(rb"%c*(?:%c%c+)*" % (MARK, OTHER, MARK))


def _without_marks(text: Characters) -> np.ndarray:
    """Return classes [characters] in which marks are LETTER or, if they belong to more than one sign, OTHER."""
    classes = text.classes
    if not (classes == MARK).any():
        return classes
    classes = classes.copy()
    raw = classes.tobytes()
    for found in _SIGNS_AND_MARKS.finditer(raw):
        start, stop = found.span()
        if not start or text.symbols[start - 1] != _BLANK:
            if start and classes[start - 1] == NEWLINE and _signs_before(classes, start - 1):
                while text.symbols[start] == _SLASH:
                    start += 1
            # each sign with its marks is a word, up to two signs in a row
            start = _SIGN_WITH_MARKS.match(raw, start, stop).end()  # type: ignore[union-attr]
        classes[start:stop] = OTHER
    classes[classes == MARK] = LETTER
    return classes


def _signs_before(classes: np.ndarray, newline: int) -> bool:
    """Return whether signs precede these line feeds."""
    while newline and classes[newline] == NEWLINE:
        newline -= 1
    return classes[newline] == OTHER


def _join_slashes(starts: np.ndarray, classes: np.ndarray, text: Characters) -> None:
    r"""Let no word begin within `[\r\n/]*` after signs."""
    before = shifted(classes, 1, BORDER)
    slash = text.symbols == _SLASH
    first = np.flatnonzero(slash & (before == NEWLINE))
    if not len(first):
        return
    feeds = run_begins((classes == NEWLINE) & (before != NEWLINE), first)
    first = first[before[feeds] == OTHER]
    starts[first] = False
    last = np.flatnonzero(slash & (shifted(text.symbols, -1, 0) != _SLASH))
    behind = last[np.searchsorted(last, first)] + 1
    starts[behind[classes[behind] == OTHER]] = True


def _cut_cases(starts: np.ndarray, cases: np.ndarray, begins: np.ndarray) -> None:
    """Begin words at capitals that follow small letters.

    begins: where letters start again after a contraction. Letters without case go with both. Capitals at the end leave
    them to the word before, if there is one.
    """
    before = shifted(cases, 1, BORDER)
    upper = cases == UPPER
    starts |= upper & (before == LOWER)
    first = np.flatnonzero(upper & (before == LETTER))
    if not len(first):
        return
    caseless = run_begins((cases == LETTER) & (before != LETTER), first - 1)
    after_small = (before[caseless] == LOWER) & ~np.isin(caseless, begins)
    last = np.flatnonzero(upper & (shifted(cases, -1, BORDER) != UPPER))
    behind = cases[last[np.searchsorted(last, first)] + 1]
    at_end = (behind != LOWER) & (behind != LETTER)
    starts[first[after_small | at_end]] = True


def _every_other(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return [stretches] bool, true for every other one of stretches that meet, beginning with the first."""
    apart = np.ones(len(begins), np.bool_)
    apart[1:] = begins[1:] != ends[:-1]
    number = np.arange(len(begins))
    return (number - np.maximum.accumulate(np.where(apart, number, 0))) % 2 == 0
