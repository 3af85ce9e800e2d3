"""The tokenizers whose way of cutting text into words is known here, and their rules."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from slipway.data.text.fast_bpe.cased_words import GPT4O_ALPHABET, gpt4o_words
from slipway.data.text.fast_bpe.characters import LETTER, Alphabet, Characters
from slipway.data.text.fast_bpe.words import GPT2_ALPHABET, GPT4_ALPHABET, gpt2_words, gpt4_words
from slipway.data.text.long_documents import steps

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT4 = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WITH_MARKS = (
    _CONTRACTION
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+CONTRACTION"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*CONTRACTION"
    r"|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LETTERS_AND_MARKS = ((r"[\p{L}\p{M}]", LETTER), *GPT4_ALPHABET[1:])


class Splitter:
    """Cuts batches of documents into words."""

    def __init__(self, alphabet: Alphabet, rules: Callable[[Characters], np.ndarray]) -> None:
        self.alphabet = alphabet
        self.rules = rules

    def word_starts(self, batch: np.ndarray) -> np.ndarray:
        """Return positions [words] at which the words of a batch begin, in ascending order.

        batch [bytes], uint8: documents in UTF-8, each followed by END; END itself counts as a word.
        """
        text = self.alphabet.read(batch)
        starts = np.flatnonzero(self.rules(text))
        return starts if text.places is None else text.places[starts]


_PATTERNS: dict[str, Callable[[], Splitter]] = {
    # GPT-4, Llama 3
    _GPT4.replace("DIGITS", r"\p{N}{1,3}"): lambda: Splitter(
        Alphabet(GPT4_ALPHABET), partial(gpt4_words, digits=3)
    ),
    # Qwen 2 to 3
    _GPT4.replace("DIGITS", r"\p{N}"): lambda: Splitter(
        Alphabet(GPT4_ALPHABET), partial(gpt4_words, digits=1)
    ),
    # Qwen 3.5
    _WITH_MARKS: lambda: Splitter(Alphabet(_LETTERS_AND_MARKS), partial(gpt4_words, digits=1)),
    # GPT-4o and gpt-oss (o200k), Llama 4
    _GPT4O.replace("CONTRACTION", _CONTRACTION + "?").replace("DIGITS", r"\p{N}{1,3}"): lambda: Splitter(
        Alphabet(GPT4O_ALPHABET), partial(gpt4o_words, digits=3, contractions=True)
    ),
    # Mistral's Tekken
    _GPT4O.replace("CONTRACTION", "").replace("DIGITS", r"\p{N}"): lambda: Splitter(
        Alphabet(GPT4O_ALPHABET), partial(gpt4o_words, digits=1, contractions=False)
    ),
}


def find_splitter(pre_tokenizer: dict[str, Any] | None) -> Splitter | None:
    """Return the splitter that cuts as this part of a tokenizer.json does; None if that is not known here."""
    match steps(pre_tokenizer, "pretokenizers"):
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:  # GPT-2, GPT-NeoX
            return Splitter(Alphabet(GPT2_ALPHABET), gpt2_words)
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        ]:  # StarCoder, SmolLM
            return Splitter(Alphabet(GPT2_ALPHABET, digits_alone=True), gpt2_words)
        case [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ] if (behavior, invert) in (("Isolated", False), ("Removed", True)) and pattern in _PATTERNS:
            return _PATTERNS[pattern]()
    return None
