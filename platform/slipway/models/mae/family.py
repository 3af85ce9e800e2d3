"""Masked auto-encoders without torch: what they say of their layers, their samples and their loss."""

from collections.abc import Mapping
from typing import Any

from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.kernels.choice import OPERATORS
from slipway.models import spans
from slipway.models.family import Family, Layer, Measure, Sample, Shard
from slipway.models.mae.config import mae_of
from slipway.models.transformer import recompute
from slipway.models.transformer.block import Block
from slipway.models.work import Pass, Product, Work


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _layer(block: Block, tp: int) -> int:
    h, f = block.hidden_size, block.mlp_size
    cut = _linear(h, 3 * h) + h * h + _linear(h, f) + f * h
    return cut // tp + 6 * h


class MaskedAutoencoders:
    """See slipway.models.family.Family."""

    engine = "megatron"
    data_kinds = frozenset({"imagery"})
    unit = "patch"
    loss = Measure("squared_error", "mean squared error of normalized pixels")
    measures = ()
    operators = frozenset(OPERATORS) - {"optimizer", "moe", "rotary", "cross_entropy"}

    def check(self, config: RunConfig) -> None:
        """Raise UserError for the first rule that the configuration breaks."""
        for name in ("context_parallel_size", "expert_model_parallel_size"):
            size = getattr(config.parallelism, name)
            if size > 1:
                raise UserError(f"parallelism.{name}", "is not for model.family=mae", value=size, use="1")

    def check_data(self, config: RunConfig, traits: Mapping[str, Any]) -> None:
        """Raise UserError where chips do not fit the model."""

    def layers(self, config: RunConfig, layout: Parallelism) -> list[Layer]:
        """Embedding, encoder layers, and the head: decoder and all."""
        model, tp = mae_of(config), layout.tensor_model_parallel_size
        h, d, scales = model.hidden_size, model.decoder_hidden_size, len(model.metadata)
        decoder = model.decoder_num_layers * _layer(model.decoder_block, tp)
        ends = _linear(h, d) + d + 2 * d + _linear(d, model.patch_values)
        return [
            Layer("embedding", Shard(_linear(model.patch_values, h) + h + scales), block=False),
            *[Layer("layer", Shard(_layer(model.encoder_block, tp)))] * model.num_layers,
            Layer("head", Shard(2 * h + ends + decoder + scales), block=False),
        ]

    def work(self, config: RunConfig, layout: Parallelism) -> list[Work]:
        """Of each layer."""
        one = Pass((Product(1, 1, 1),))
        return [Work(one, one) for _ in self.layers(config, layout)]

    def spans(self, config: RunConfig, layout: Parallelism) -> list[range]:
        """Raises UserError."""
        model = mae_of(config)
        layers, tokens = self.layers(config, Parallelism()), model.num_visible
        costs = [layer.parameters.total * tokens for layer in layers]
        costs[-1] *= model.num_patches // tokens
        return spans.shared_out([layer.block for layer in layers], costs, layout)

    def sample(self, config: RunConfig) -> Sample:
        """An image time series."""
        model = mae_of(config)
        weights = sum(layer.parameters.total for layer in self.layers(config, Parallelism()))
        return Sample(model.num_patches, 6 * weights * model.num_visible, weights)

    def recomputed(self, config: RunConfig) -> tuple[str, ...]:
        """See slipway.models.transformer.recompute."""
        return recompute.modules(config, mae_of(config).encoder_block)

    def chance(self, config: RunConfig) -> float | None:
        """Normalized pixels have about this variance."""
        return 1.0

    def shape(self, config: RunConfig) -> Mapping[str, Any]:
        """What weights depend on."""
        return config.model.model_dump(
            mode="json", exclude={"family", "name", "mask_ratio", "metadata_drop", "normalize_patches"}
        )

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        """None is known."""
        return None


FAMILY: Family = MaskedAutoencoders()
