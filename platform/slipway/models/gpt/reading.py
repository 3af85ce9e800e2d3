"""Text through a whole GPT in one process, with and without a cache of keys and values.

The cache is Megatron-core's StaticInferenceContext, which its attention fills and reads: it stores keys before their
rotary embedding and rotates all of them at every step, by their places in the cache. So all rows are at the same
position. Attention over the cache is the layer's own (slipway.kernels.attention, or Transformer Engine's).

For latent attention it stores each head's keys, rotated, and values, not the latent states from which they come: a
token takes heads x (qk_head_dim + qk_pos_emb_head_dim + v_head_dim) numbers of a layer, instead of the kv_lora_rank +
qk_pos_emb_head_dim that suffice if the up-projections are merged into those of queries and outputs. Megatron-core does
that only with a kernel for some GPUs (cache_mla_latents).

A mixture's router sends each token to its experts whatever the others are: it has no capacity. With one, a token read
alone could go to other experts than among others, and the result would differ from the full forward pass.
"""

from typing import Any

import torch
from megatron.core.inference.contexts import StaticInferenceContext
from torch import Tensor


class GPTReader:
    """A GPT that reads texts: see slipway.models.text.TextModel."""

    def __init__(self, vocab_size: int, module: torch.nn.Module, device: torch.device) -> None:
        self.vocab_size, self.module, self.device = vocab_size, module, device

    @torch.inference_mode()
    def logits(self, tokens: Tensor) -> Tensor:
        """Return the logits of the token after each token, fp32 [b, s, vocab_size], for texts, int64 [b, s]."""
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        return self._of_entries(self.module(tokens, positions, None))

    def begin(self, rows: int, length: int) -> "GPTReading":
        """Return a reading of so many texts of at most so many tokens."""
        return GPTReading(self, StaticInferenceContext(rows, length))

    def _of_entries(self, logits: Tensor) -> Tensor:
        """Return the logits without the rows that pad the embedding."""
        return logits[..., : self.vocab_size].float()


class GPTReading:
    """Texts that a GPT reads token by token: see slipway.models.text.Reading."""

    def __init__(self, reader: GPTReader, cache: Any) -> None:
        self.reader, self.cache = reader, cache

    @torch.inference_mode()
    def read(self, tokens: Tensor) -> Tensor:
        """Read the next tokens of each row, int64 [b, n].

        Return the logits of the token after them, fp32 [b, vocab_size].
        """
        begin = self.cache.sequence_len_offset
        end = begin + tokens.shape[1]
        assert begin == 0 or tokens.shape[1] == 1, (
            "Transformer Engine's attention over a cache takes one query"
        )
        assert end <= self.cache.max_sequence_length
        positions = torch.arange(begin, end, device=tokens.device).expand_as(tokens)
        logits = self.reader.module(
            tokens, positions, None, inference_context=self.cache, runtime_gather_output=True
        )
        self.cache.sequence_len_offset = end
        self.cache.enable_decode_mode()
        return self.reader._of_entries(logits[:, -1])  # noqa: SLF001
