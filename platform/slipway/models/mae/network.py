"""The torch half of masked auto-encoders: stages, their batches, loss and initial values."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data.randomness import SEED_FIELD
from slipway.kernels import products
from slipway.models.initial import Constant, Initial, Normal, Uniform
from slipway.models.mae import masks
from slipway.models.mae.config import mae_of
from slipway.models.mae.family import FAMILY
from slipway.models.mae.patches import chosen, loss, patches, targets
from slipway.models.mae.pictures import picture
from slipway.models.mae.share import padded
from slipway.models.mae.stage import FIELDS, MaskedAutoencoder
from slipway.models.network import Batch, LossFunction, Picture, Stage, Sums
from slipway.models.transformer import matrices
from slipway.models.transformer.config import pipeline_layout, transformer_config
from slipway.optimizers.matrix import Matrix

TOKEN_STD = 0.02  # standard deviation of the initial class token and mask token
SCALE = 0.1  # the initial scale of metadata


class MaskedAutoencoders:
    """The torch half of the family: see slipway.models.network.Network."""

    def build(
        self, config: RunConfig, span: range, stage: Stage, settings: Mapping[str, Any]
    ) -> torch.nn.Module:
        """Return encoder layers, and the embedding and the decoder as far as the span covers them."""
        products.use(config.kernels.product or "torch")
        model = mae_of(config)
        fields: dict[str, Any] = {}
        chunks = pipeline_layout(FAMILY.spans(config, config.parallelism))
        if chunks is not None:
            fields["pipeline_model_parallel_layout"] = chunks
        encoder = transformer_config(config, [model.encoder_block] * model.num_layers, settings, **fields)
        whole = {**settings, "pipeline_model_parallel_size": 1, "virtual_pipeline_model_parallel_size": None}
        decoder = transformer_config(config, [model.decoder_block] * model.decoder_num_layers, whole)
        layers = len(span) - stage.first - stage.last  # embedding and head are layers of the family, too
        return MaskedAutoencoder(config, encoder, decoder, layers, stage)

    def boundary(self, config: RunConfig) -> tuple[int, int]:
        """Return the number of tokens and their width.

        Tokens are the class token and the visible patches, padded for sequence parallelism; Megatron-core divides them.
        """
        model = mae_of(config)
        return padded(1 + model.num_visible, config.parallelism), model.hidden_size

    def reads(self, config: RunConfig, stage: Stage) -> frozenset[str]:
        """Return the fields of the first and the last stage, which need the same; the stages between need no data."""
        if not (stage.first or stage.last):
            return frozenset()
        metadata = {FIELDS[name] for name in mae_of(config).metadata}
        return frozenset({"pixels", "mean", "std", SEED_FIELD, *metadata})

    def forward(
        self, config: RunConfig, batch: Batch, module: torch.nn.Module, received: Tensor | None
    ) -> tuple[Tensor, LossFunction]:
        """Run one microbatch through one stage; return its output, on the last stage predictions of hidden patches.

        Fields: pixels ([b, frames, bands, height, width] int16 or floating point), mean and std ([b, bands]),
        sample_seed ([b] int64) and, by `model.metadata`, dates ([b, frames, 2]) and location ([b, 2]).
        """
        model = mae_of(config)
        seeds = batch.get(SEED_FIELD)
        mask = None if seeds is None else masks.draw(seeds, model.num_patches, model.num_visible)
        # by name: Megatron-core rounds positional arguments to bf16 on the first stage
        output = module(batch=batch, mask=mask)

        def loss_of(predicted: Tensor) -> tuple[Tensor, Tensor, Sums]:
            assert mask is not None
            hidden = chosen(patches(batch["pixels"], model), mask.hidden)
            wanted = targets(hidden, batch["mean"], batch["std"], model.normalize_patches)
            total, count = loss(predicted.float(), wanted)
            # a clone: the schedules scale the returned loss in place
            return total, count, {FAMILY.loss.name: torch.stack([total.detach().clone(), count])}

        return output, loss_of

    def picture(self, config: RunConfig, batch: Batch, output: Tensor) -> Picture:
        """Return input, masked input and reconstruction of the first samples. output: [b, hidden, values].

        See slipway.models.mae.pictures.
        """
        return picture(config, batch, output)

    def initial(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Initial:
        """Return xavier_uniform_ (Glorot and Bengio 2010) for matrices, 0 for biases, 1 for norms' weights, as in MAE.

        The bias of the patch embedding is a convolution's in MAE, and is initialized like torch's.
        """
        if len(shape) > 1:
            bound = (6 / sum(shape)) ** 0.5
            return Uniform(-bound, bound)
        if key in ("cls_token", "mask_token"):
            return Normal(TOKEN_STD)
        if key.endswith("_scale"):
            return Constant(SCALE)
        if key == "patch_embedding.bias":
            bound = mae_of(config).patch_values ** -0.5
            return Uniform(-bound, bound)
        return Constant(1.0 if key.endswith(("layernorm.weight", "layer_norm_weight")) else 0.0)

    def matrix(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Matrix | None:
        """Return the matrices of the layers' weights and of the decoder's embedding of encoder outputs; None: others.

        The patch embedding is the input layer, and the prediction the output layer.
        """
        if len(shape) < 2 or key.startswith(("patch_embedding.", "prediction.")):
            return None
        model = mae_of(config)
        block = model.decoder_block if key.startswith("decoder.") else model.encoder_block
        return matrices.matrix(block, key, shape)


NETWORK = MaskedAutoencoders()
