"""Masked auto-encoders without torch: their layers, their samples and their loss."""

from collections.abc import Mapping
from typing import Any

from slipway.config.schema import Parallelism, RunConfig
from slipway.kernels.choice import OPERATORS
from slipway.kernels.sizes import NORM_WIDTH
from slipway.models import spans
from slipway.models.family import Family, Layer, Measure, Sample
from slipway.models.mae import activations, counts, rules, work
from slipway.models.mae.config import mae_of
from slipway.models.mae.share import encoder_share
from slipway.models.transformer import recompute
from slipway.models.transformer.layer import planned_layer
from slipway.models.work import Work


class MaskedAutoencoders:
    """The pure half of the family: see slipway.models.family.Family.

    The unit is a patch, including hidden ones: the encoder sees some of them, the decoder all, and their number does
    not depend on the mask. Papers on Earth observation count samples, so throughput is also reported in samples.
    """

    engine = "megatron"
    data_kinds = ("imagery",)
    unit = "patch"
    loss = Measure("squared_error", "mean squared error of normalized pixels")
    operators = frozenset(OPERATORS) - {"activation", "cross_entropy", "moe", "optimizer", "rotary"}

    def measures(self, config: RunConfig) -> tuple[Measure, ...]:
        """Return nothing: there are no measures besides the loss."""
        return ()

    def check(self, config: RunConfig) -> None:
        """Raise UserError for the first rule that the configuration breaks."""
        rules.check(config)

    def check_data(self, config: RunConfig, traits: Mapping[str, Any]) -> None:
        """Raise UserError if chips do not fit the model."""
        rules.check_chips(config, traits)

    def layers(self, config: RunConfig, layout: Parallelism) -> list[Layer]:
        """Return the embedding, the encoder's layers, and the head: final norm, whole decoder, and loss."""
        model, share = mae_of(config), encoder_share(config, layout)
        return [
            Layer(
                "embedding",
                counts.embedding(model),
                kept_bytes=activations.embedding_bytes(config, layout),
                sent_bytes=share.state_bytes,
                block=False,
            ),
            *[planned_layer(share)] * model.num_layers,
            Layer(
                "head",
                counts.head(model, share.tp),
                held_bytes=activations.head_bytes(config, layout),
                block=False,
                matrices=counts.head_matrices(model, share.tp),
            ),
        ]

    def work(self, config: RunConfig, layout: Parallelism) -> list[Work]:
        """Return the work of the embedding, the encoder's layers, and the head."""
        return work.layers(config, layout)

    def spans(self, config: RunConfig, layout: Parallelism) -> list[range]:
        """Return the layers of each model chunk, with encoder layers divided by their operations.

        The decoder costs as much as several encoder layers. Raises UserError as slipway.models.spans.shared_out does.
        """
        model = mae_of(config)
        once, again = counts.flops(model), counts.recomputed_flops(model, self.recomputed(config))
        costs = [a + b for a, b in zip(once, again, strict=True)]
        is_block = [False, *[True] * model.num_layers, False]
        of_layers = [costs[0], *[costs[1]] * model.num_layers, costs[2]]
        return spans.shared_out(is_block, of_layers, layout, always_level=True)

    def sample(self, config: RunConfig) -> Sample:
        """Return the sizes and operations of one image time series."""
        model = mae_of(config)
        return Sample(
            units=model.num_patches,
            flops=counts.flops(model).total(model),
            active_parameters=counts.parameters(model),
            recomputed_flops=counts.recomputed_flops(model, self.recomputed(config)).total(model),
        )

    def recomputed(self, config: RunConfig) -> tuple[str, ...]:
        """Return what is recomputed in both stacks, as in slipway.models.transformer.recompute.modules."""
        return recompute.modules(config, [mae_of(config).encoder_block])

    def chance(self, config: RunConfig) -> float | None:
        """Return the loss of predicting 0: pixels have about mean 0 and variance 1, by band or by patch."""
        return 1.0

    def notes(self, config: RunConfig) -> list[str]:
        """Return no notes: there are none for this family."""
        return []

    def shape(self, config: RunConfig) -> Mapping[str, Any]:
        """Return all fields that weights depend on.

        These are all but the preset's name and those that change only how samples are drawn, hidden or normalized.
        Positions are computed, so a run can resume with larger images or more dates.
        """
        free = {"name", "image_size", "num_frames", "mask_ratio", "normalize_patches", "metadata_drop"}
        return config.model.model_dump(mode="json", exclude={"family", *free})

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        """Return why a backend cannot compute an operator of this model; None: it can."""
        model, widest = mae_of(config), NORM_WIDTH["LayerNorm"]
        width = max(model.hidden_size, model.decoder_hidden_size)
        if (operator, backend) == ("norm", "triton") and width > widest:
            return f"it does LayerNorm of rows up to {widest}, not of {width}"
        return None


FAMILY: Family = MaskedAutoencoders()
