"""The GPT family's torch half: stages, their batches, loss and initial values."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from megatron.core import parallel_state
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.kernels import products, rotary, swiglu
from slipway.kernels.spans import attended_share, local_positions, spans_of_samples
from slipway.models.gpt import routing
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.prediction import targets
from slipway.models.gpt.stage import build_stage
from slipway.models.gpt.transformer import transformer_config
from slipway.models.initial import Constant, Initial, Normal
from slipway.models.network import ATTENDED, Batch, Handed, LossFunction, Stage, Sums
from slipway.models.transformer import matrices
from slipway.optimizers.matrix import Matrix

NORMS = ("layernorm.weight", "layer_norm_weight", ".enorm.weight", ".hnorm.weight")
"""Suffixes of the names of norms' weights; the last two are from multi-token prediction."""


class GPT:
    """The torch half of the GPT family: see slipway.models.network.Network."""

    def build(
        self, config: RunConfig, span: range, stage: Stage, settings: Mapping[str, Any]
    ) -> torch.nn.Module:
        """Return a stage of the model: embedding, transformer layers and head, as far as the span covers them."""
        rotary.use(config.kernels.rotary or "torch")
        swiglu.use(config.kernels.activation or "torch")
        products.use(config.kernels.product or "torch")
        transformer = transformer_config(config, settings)
        # embedding and head are layers of the family, too
        behind = 1 + gpt_of(config).prediction_depths if stage.last else 0
        layers = range(span.start - (not stage.first), span.stop - 1 - behind)
        return build_stage(config, transformer, layers, stage)

    def boundary(self, config: RunConfig) -> tuple[int, int]:
        """Return the number of tokens and the width of their states.

        Megatron-core divides the tokens by context- and tensor-parallel ranks.
        """
        return tokens_of(config).sequence_length, gpt_of(config).hidden_size

    def reads(self, config: RunConfig, stage: Stage) -> frozenset[str]:
        """Return the fields that embedding and loss need.

        Every stage reads document_starts if documents are kept apart.
        """
        fields: set[str] = set()
        if stage.first:
            fields |= {"tokens", "position_ids"}
        if stage.last:
            fields |= {"labels", "loss_mask"}
        if tokens_of(config).apart:
            fields.add("document_starts")
        return frozenset(fields)

    def forward(
        self, config: RunConfig, batch: Batch, module: torch.nn.Module, received: Tensor | None
    ) -> tuple[Tensor, LossFunction]:
        """Run one microbatch through one stage; return its output and the function of the loss.

        Fields: tokens, labels, position_ids ([b, s] int64), loss_mask ([b, s] fp32) and, if documents are kept apart,
        document_starts ([b, s] int64, on the CPU).
        """
        model, starts = gpt_of(config), batch.get("document_starts")
        depths = model.prediction_depths
        if depths and "labels" in batch:
            labels, masks = targets.of_depths(batch["labels"], batch["loss_mask"], starts, depths)
            batch = {**batch, "labels": labels, "loss_mask": masks}
        own, spans = _of_this_rank(batch)
        of_loss = {name: own.get(name) for name in ("labels", "loss_mask")}
        output = module(own.get("tokens"), own.get("position_ids"), spans, **of_loss)

        def reported(losses: Tensor) -> tuple[Tensor, Tensor, Sums]:
            mask = own["loss_mask"]
            total, tokens, sums = (
                targets.loss(mask, losses, model.mtp_loss_scaling_factor) if depths else loss(mask, losses)
            )
            if starts is not None:
                sums[ATTENDED] = attended_share(starts, model.windows)
            return total, tokens, sums

        return output, reported

    def counted(self, config: RunConfig, modules: Sequence[torch.nn.Module]) -> Tensor:
        """Return the tokens of each expert, fp64 [numbers]; see slipway.models.gpt.routing."""
        return routing.counted(config, modules)

    def handed(self, config: RunConfig, sums: Tensor) -> Handed:
        """Return load, entropy and bias of the experts. sums: fp64 [numbers], over all ranks."""
        return routing.handed(config, sums)

    def initial(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Initial:
        """Return 1 for norm weights, 0 for all other vectors (biases), and a normal distribution for matrices.

        Output projections are scaled by 1/sqrt(2 x layers), as in GPT-2 (Radford et al. 2019, section 2.3).
        """
        if len(shape) < 2:
            return Constant(1.0 if key.endswith(NORMS) else 0.0)
        model = gpt_of(config)
        std = model.init_method_std
        if key.endswith(("linear_proj.weight", "linear_fc2.weight")):
            std /= (2 * model.num_layers) ** 0.5
        return Normal(std)

    def matrix(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Matrix | None:
        """Return the matrices of a layer's weight, also of the router's.

        None: embedding, positions, output layer, vectors.
        """
        if len(shape) < 2 or key.startswith(("embedding.", "output_layer.")):
            return None
        return matrices.matrix(gpt_of(config).blocks[0], key, shape)


def loss(loss_mask: Tensor, losses: Tensor) -> tuple[Tensor, Tensor, Sums]:
    """Return the sum of the tokens' cross entropies (nats), a scalar, the number of tokens, and both to report.

    losses: of the tokens, [b, s], or their masked sum (slipway.models.gpt.stage). loss_mask: [b, s].
    """
    total = torch.sum(losses.float() * loss_mask) if losses.dim() else losses
    tokens = loss_mask.sum()
    # a clone: the schedules scale the returned loss in place
    return total, tokens, {"loss": torch.stack([total.detach().clone(), tokens])}


def _of_this_rank(whole: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return this context-parallel rank's fields, and the keys that its tokens may see if documents are kept apart."""
    rank, size = parallel_state.get_context_parallel_rank(), parallel_state.get_context_parallel_world_size()
    batch = {name: value for name, value in whole.items() if name != "document_starts"}
    starts = whole.get("document_starts")
    spans = None if starts is None else spans_of_samples(starts, rank, size)
    if size > 1 and batch:
        first = next(iter(batch.values()))
        positions = local_positions(first.shape[-1] // size, rank, size, first.device)
        batch = {name: value[..., positions].contiguous() for name, value in batch.items()}
    return batch, spans


NETWORK = GPT()
