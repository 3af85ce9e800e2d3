"""Tokenizers like published ones, except for their vocabularies, which are trained here.

Normalizer, pattern, `ignore_merges` and the kinds of added tokens are those of the tokenizer.json files of Llama 3,
Qwen 3, GPT-NeoX-20B and gpt-oss (o200k); transformers holds the same (convert_slow_tokenizer,
integrations/gguf/gguf_tokenizer_mapping).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

END_OF_DOCUMENT = "<|endoftext|>"

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_LETTERS = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"


@dataclass(frozen=True)
class Published:
    """The parts of a published tokenizer besides its vocabulary."""

    pattern: str | None
    """None: GPT-2's, which ByteLevel has."""
    nfc: bool = False
    ignore_merges: bool = False
    special: tuple[str, ...] = ()
    """Added tokens that are special, apart from END_OF_DOCUMENT."""
    found: tuple[str, ...] = ()
    """Added tokens that are found in texts."""
    normalized: bool = False
    """Whether those are found in the normal form."""


PUBLISHED = {
    "llama3": Published(
        _LETTERS + r"|\p{N}{1,3}" + _SIGNS + _REST,
        ignore_merges=True,
        special=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
        + tuple(f"<|reserved_special_token_{i}|>" for i in range(248)),
    ),
    "qwen": Published(
        _LETTERS + r"|\p{N}" + _SIGNS + _REST,
        nfc=True,
        special=("<|im_start|>", "<|im_end|>"),
        found=("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
    ),
    "gpt_neox": Published(
        None,
        nfc=True,
        special=("<|padding|>",),
        found=(
            *(" " * length for length in range(24, 1, -1)),
            "|||EMAIL_ADDRESS|||",
            "|||PHONE_NUMBER|||",
            "|||IP_ADDRESS|||",
        ),
        normalized=True,
    ),
    "o200k": Published(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTION + "?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTION + "?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _REST,
        special=("<|start|>", "<|end|>", "<|message|>", "<|channel|>"),
    ),
}


def train(kind: Published, texts: Iterator[str], vocab_size: int) -> Any:
    """Return a tokenizers.Tokenizer of this kind with a vocabulary trained on texts.

    It has fewer than vocab_size entries if the texts do not give more.
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE(ignore_merges=kind.ignore_merges))
    if kind.nfc:
        tokenizer.normalizer = normalizers.NFC()
    if kind.pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(kind.pattern), "isolated")
        in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, in_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    special = [END_OF_DOCUMENT, *kind.special]
    added = len(special) + len(kind.found)
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocab_size - added, 256),
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=kind.normalized) for token in kind.found])
    return tokenizer
