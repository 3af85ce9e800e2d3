"""A stage of a masked auto-encoder: encoder layers, on the first stage the embedding, on the last one the decoder."""

from typing import Any

import torch
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_block import TransformerBlock, TransformerBlockSubmodules
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn import Linear, Parameter

from slipway.config.schema import RunConfig
from slipway.models.mae import masks, positions
from slipway.models.mae.config import Metadata, mae_of
from slipway.models.mae.masks import Mask
from slipway.models.mae.patches import chosen, normalized, patches
from slipway.models.mae.sequence import gathered, scattered, unpadded
from slipway.models.mae.share import padded
from slipway.models.network import Batch, Stage
from slipway.models.transformer.block import Block
from slipway.models.transformer.layer_spec import block_submodules

FIELDS: dict[Metadata, str] = {"time": "dates", "location": "location"}
"""The field of a sample that holds each kind of metadata."""


class MaskedAutoencoder(MegatronModule):
    """A stage with the model's parameters, as Megatron-core's schedules, reductions and checkpoints expect it."""

    share_embeddings_and_output_weights = False

    def __init__(
        self,
        config: RunConfig,
        encoder: TransformerConfig,
        decoder: TransformerConfig,
        layers: int,
        stage: Stage,
    ) -> None:
        """Build so many encoder layers and the stage's other parts; parameters have arbitrary values.

        encoder: for all its layers, in the pipeline. decoder: for all its layers, which are on one stage.
        """
        super().__init__(encoder)
        self.model = model = mae_of(config)
        self.pre_process, self.post_process = stage.first, stage.last
        self.vp_stage = stage.chunk if stage.chunks > 1 else None
        self.tables: dict[int, Tensor] = {}
        if stage.first:
            self.patch_embedding = Linear(model.patch_values, model.hidden_size)
            self.cls_token = _vector(model.hidden_size)
            self._add_scales("")
        self.encoder = TransformerBlock(
            encoder,
            _submodules(config, model.encoder_block, layers, 1 + model.num_visible),
            pre_process=stage.first,
            post_process=stage.last,
            vp_stage=self.vp_stage,
        )
        if stage.last:
            self.decoder_embedding = Linear(model.hidden_size, model.decoder_hidden_size)
            self.mask_token = _vector(model.decoder_hidden_size)
            self._add_scales("decoder_")
            self.decoder_config = decoder
            self.decoder = TransformerBlock(
                decoder,
                _submodules(config, model.decoder_block, model.decoder_num_layers, 1 + model.num_patches),
            )
            self.prediction = Linear(model.decoder_hidden_size, model.patch_values)

    def _add_scales(self, part: str) -> None:
        for name in self.model.metadata:
            setattr(self, f"{part}{name}_scale", _vector(1))

    def set_input_tensor(self, tensors: Any) -> None:
        """Pass on the states that Megatron-core's schedules received from the stage before."""
        self.encoder.set_input_tensor(tensors[0] if isinstance(tensors, list) else tensors)

    def forward(self, batch: Batch, mask: Mask | None) -> Tensor:
        """Return the next stage's input, [visible + 1, b, hidden], or on the last stage predictions of hidden patches.

        These are [b, hidden patches, values]. mask: None on stages that read nothing.
        """
        x = None
        if self.pre_process:
            assert mask is not None
            x = scattered(self._embedded(batch, mask), self.config)
        x = self.encoder(hidden_states=x, attention_mask=None)
        if not self.post_process:
            return x
        assert mask is not None
        return self._predicted(gathered(x, 1 + self.model.num_visible, self.config), batch, mask)

    def features(self, batch: Batch, numbers: Tensor | None = None) -> Tensor:
        """Return the encoder's states of patches, [b, patches, hidden], after the last norm, without the class token.

        For the whole model on one rank. batch: the fields that `forward` reads, except sample_seed. numbers: of the
        visible patches, [b, n] int64; None: all.
        """
        assert self.pre_process and self.post_process and not self.training
        if numbers is None:
            numbers = torch.arange(self.model.num_patches, device=batch["pixels"].device)
            numbers = numbers.expand(len(batch["pixels"]), -1)
        x = self._embedded(batch, Mask(numbers, hidden=numbers[:, :0], words=numbers[:, :0]))
        return self.encoder(hidden_states=x, attention_mask=None)[1:].transpose(0, 1)

    def _embedded(self, batch: Batch, mask: Mask) -> Tensor:
        """Return the class token and the visible patches, [visible + 1, b, hidden]."""
        values = chosen(patches(batch["pixels"], self.model), mask.visible)
        values = normalized(values, batch["mean"], batch["std"]).flatten(2)
        weight = self.patch_embedding.weight
        tokens = self.patch_embedding(values.to(weight.dtype)).float()
        tokens = tokens + self._places(batch, mask, mask.visible, self.model.hidden_size, "")
        classes = self.cls_token.float().expand(len(tokens), 1, -1)
        return torch.cat([classes, tokens], 1).transpose(0, 1).to(weight.dtype).contiguous()

    def _predicted(self, encoded: Tensor, batch: Batch, mask: Mask) -> Tensor:
        """Decode the encoder's states, [visible + 1, b, hidden]."""
        model = self.model
        encoded = self.decoder_embedding(encoded).transpose(0, 1)
        samples, width, dtype = len(encoded), model.decoder_hidden_size, encoded.dtype
        everywhere = self.mask_token.to(dtype).expand(samples, model.num_patches, width)
        tokens = everywhere.scatter(1, mask.visible[..., None].expand(-1, -1, width), encoded[:, 1:])
        every = torch.arange(model.num_patches, device=encoded.device).expand(samples, -1)
        tokens = tokens.float() + self._places(batch, mask, every, width, "decoder_")
        x = torch.cat([encoded[:, :1].float(), tokens], 1).transpose(0, 1).to(dtype).contiguous()
        x = self.decoder(hidden_states=scattered(x, self.decoder_config), attention_mask=None)
        x = gathered(x, 1 + model.num_patches, self.decoder_config)[1:].transpose(0, 1)
        return self.prediction(x.gather(1, mask.hidden[..., None].expand(-1, -1, width)))

    def _places(self, batch: Batch, mask: Mask, numbers: Tensor, width: int, part: str) -> Tensor:
        """Return the encoded places and times of patches by their numbers [b, n]: fp32 [b, n, width].

        part: whose scales to use, the encoder's or the decoder's.
        """
        if width not in self.tables:  # not a buffer, which training in bf16 would round
            self.tables[width] = positions.of_patches(self.model.grid, width).to(numbers.device)
        places = self.tables[width][numbers]
        for name in self.model.metadata:
            codes = positions.of_pairs(batch[FIELDS[name]], width)  # [b, width], of dates [b, frames, width]
            codes = codes * getattr(self, f"{part}{name}_scale").float()
            if self.training:
                kept = masks.keeps(mask, name, self.model.metadata_drop)
                codes = codes * kept.view(-1, *[1] * (codes.dim() - 1))
            _, rows, columns = self.model.grid
            places = places + (
                chosen(codes, numbers // (rows * columns)) if name == "time" else codes[:, None]
            )
        return places


def _vector(size: int) -> Parameter:
    return Parameter(torch.empty(size))


def _submodules(config: RunConfig, block: Block, layers: int, length: int) -> TransformerBlockSubmodules:
    """Return so many layers, and the norm after the last one. length: of the sequence, before it is padded."""
    blocks = [block] * max(1, layers)  # the norm's kind comes from a layer, also on a stage without layers
    submodules: Any = block_submodules(config, blocks, range(layers))
    if layers and padded(length, config.parallelism) > length:
        attention = submodules.layer_specs[
            0
        ].submodules.self_attention.submodules  # all layers are one object
        attention.core_attention = unpadded(attention.core_attention, length)
    return submodules
