"""The use of a GPT for text: its own network with Megatron-core's cache of keys and values. Imports no torch."""

from typing import TYPE_CHECKING

from slipway.config.schema import RunConfig
from slipway.models.gpt.config import gpt_of
from slipway.models.text import Reach, Text, TextModel

if TYPE_CHECKING:
    import torch


class GPTText:
    """The use of GPTs for text: see slipway.models.text.Text."""

    def reach(self, config: RunConfig) -> Reach:
        """Return how long texts can be: learned positions are limited by their table, rotary ones only by training."""
        model = gpt_of(config)
        longest = model.max_position_embeddings
        return Reach(longest, longest if model.position_embedding_type == "learned_absolute" else None)

    def model(self, config: RunConfig, module: "torch.nn.Module", device: "torch.device") -> TextModel:
        """Return the built model as a TextModel. Imports torch and Megatron-core."""
        from slipway.models.gpt.reading import GPTReader

        return GPTReader(gpt_of(config).vocab_size, module, device)


TEXT: Text = GPTText()
