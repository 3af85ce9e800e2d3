r"""The beginnings of words by known patterns, for a whole batch of documents at once.

Byte-level BPE tokenizers first cut text into words by a regular expression, and then merge bytes within each word
only. In the patterns below, whether a word begins at a character can be told from the classes of the characters
around it, so the cuts are a few comparisons of arrays.

Each function takes the characters of a batch, in the classes of an alphabet below, and returns a bool for each:
whether a word begins there. END is a word of its own, and so is an added token.
"""

import numpy as np

from slipway.data.text.fast_bpe.characters import (
    ADDED,
    BORDER,
    LETTER,
    LONG_S,
    NEWLINE,
    NUMBER,
    OTHER,
    SPACE,
    Characters,
)

GPT2_ALPHABET = ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE))
GPT4_ALPHABET = ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"[\r\n]", NEWLINE), (r"\s", SPACE))

_QUOTE, _BLANK = ord("'"), ord(" ")


def gpt2_words(text: Characters) -> np.ndarray:
    r"""Return where words of ByteLevel's own pattern begin, [characters] bool.

    `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
    """
    classes = text.classes
    after = shifted(classes, -1, BORDER)
    starts = borders(classes, text)
    starts &= ~((classes != SPACE) & (classes != BORDER) & after_blank(text))
    starts |= (classes == SPACE) & (after != SPACE) & (after != BORDER)  # `\s+(?!\S)` leaves the last one
    quotes = np.flatnonzero((text.symbols == _QUOTE) & starts)
    lengths = contraction_lengths(text.symbols, quotes, ignore_case=False)
    cut_contractions(starts, quotes[lengths > 0], lengths[lengths > 0])
    return starts


def gpt4_words(text: Characters, digits: int) -> np.ndarray:
    r"""Return where words of the pattern of GPT-4 (cl100k), Llama 3 and Qwen begin, [characters] bool.

    `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+
    |\s+(?!\S)|\s+`.
    """
    starts = borders(text.classes, text)
    cut_spaces(starts, text.classes, text)
    cut_numbers(starts, text.classes, digits)
    alone = join_sign(starts, text.classes)
    quotes = alone[text.symbols[alone] == _QUOTE]
    lengths = contraction_lengths(text.symbols, quotes, ignore_case=True)
    cut_contractions(starts, quotes[lengths > 0], lengths[lengths > 0])
    return starts


def shifted(values: np.ndarray, by: int, fill: int) -> np.ndarray:
    """Return each value's neighbour before (by=1) or after it (by=-1), [n] as `values`; `fill` at the border."""
    out = np.empty_like(values)
    if by > 0:
        out[0], out[1:] = fill, values[:-1]
    else:
        out[-1], out[:-1] = fill, values[1:]
    return out


def borders(classes: np.ndarray, text: Characters) -> np.ndarray:
    """Return [characters] bool: where another class begins, and at each END, added token and digit that is alone."""
    alone = (classes == BORDER) & ((text.symbols >= ADDED) | (text.symbols < 0xF8))
    return (classes != shifted(classes, 1, BORDER)) | alone


def after_blank(text: Characters) -> np.ndarray:
    """Return [characters] bool: whether a blank precedes a character, as ` ?` in front of a word allows."""
    return shifted(text.symbols, 1, 0) == _BLANK


def cut_spaces(starts: np.ndarray, classes: np.ndarray, text: Characters) -> None:
    r"""Cut white space as GPT-4's pattern does, in `starts` [characters].

    ` ?[^\s\p{L}\p{N}]+[\r\n]*` takes line feeds after signs, `\s*[\r\n]+` all up to the last of others, and `\s+(?!\S)`
    leaves the last space before a word, which belongs to letters (`[^\r\n\p{L}\p{N}]?\p{L}+`).
    """
    before, after = shifted(classes, 1, BORDER), shifted(classes, -1, BORDER)
    space, newline = classes == SPACE, classes == NEWLINE
    starts |= space & (after != SPACE) & (after != NEWLINE) & (after != BORDER)
    starts &= ~((classes == LETTER) & (before == SPACE))
    starts &= ~((classes == OTHER) & after_blank(text))
    starts &= ~(newline & ((before == OTHER) | (before == SPACE)))
    # spaces between line feeds belong to both, unless signs have taken the first
    trailing = np.flatnonzero(space & (after == NEWLINE))
    if len(trailing):
        first = run_begins(space & (before != SPACE), trailing)
        first = first[before[first] == NEWLINE]
        feeds = run_begins(newline & (before != NEWLINE), first)
        starts[first[before[feeds] != OTHER]] = False


def run_begins(begins: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the last position at or before each of `positions` [n] at which `begins` [characters] is true."""
    every = np.flatnonzero(begins)
    return every[np.searchsorted(every, positions, "right") - 1]


def cut_numbers(starts: np.ndarray, classes: np.ndarray, digits: int) -> None:
    r"""Begin a word after each `digits` digits, in `starts` [characters], as `\p{N}{1,digits}` does."""
    numbers = np.flatnonzero(classes == NUMBER)
    if len(numbers):
        first = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)
        within = np.arange(len(numbers)) - np.repeat(first, np.diff(first, append=len(numbers)))
        starts[numbers[within % digits == 0]] = True


def join_sign(starts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    r"""Join a sign with the letters that follow, in `starts` [characters]; return the signs' positions.

    `[^\r\n\p{L}\p{N}]?\p{L}+`: a word that begins with a sign continues with letters.
    """
    alone = np.flatnonzero((classes == OTHER) & starts & (shifted(classes, -1, BORDER) == LETTER))
    starts[alone + 1] = False
    return alone


def contraction_lengths(symbols: np.ndarray, quotes: np.ndarray, ignore_case: bool) -> np.ndarray:
    """Return the letters [quotes] of `'s`, `'ll` and the like at these quotes, 0 if there are none."""
    # END follows, so one symbol after a quote exists, and a second one if the first is a letter.
    first = symbols[quotes + 1]
    second = symbols[np.minimum(quotes + 2, len(symbols) - 1)]
    if ignore_case:
        first, second = lower_case(first), lower_case(second)
    one = np.isin(first, np.frombuffer(b"sdmt", np.uint8))
    two = ((first == ord("l")) & (second == ord("l"))) | (
        ((first == ord("v")) | (first == ord("r"))) & (second == ord("e"))
    )
    return np.where(one, 1, np.where(two, 2, 0))


def lower_case(symbols: np.ndarray) -> np.ndarray:
    """Return letters [n] without their case; no other character becomes one of these letters."""
    lower = np.where((symbols >= ord("A")) & (symbols <= ord("Z")), symbols | 0x20, symbols)
    return np.where(symbols == LONG_S, ord("s"), lower)


def cut_contractions(starts: np.ndarray, quotes: np.ndarray, lengths: np.ndarray) -> None:
    """Let a word begin behind each contraction at these quotes and none within it, in `starts` [characters]."""
    starts[quotes + 1] = False
    starts[quotes + lengths] = False
    starts[quotes + lengths + 1] = True
