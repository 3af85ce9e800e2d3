"""The GPT family without torch: its layers, its samples and its loss."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from slipway.config.schema import Parallelism, RunConfig
from slipway.data.tokens import tokens_of
from slipway.kernels.choice import OPERATORS
from slipway.kernels.sizes import NORM_WIDTH
from slipway.models import spans
from slipway.models.family import Family, KeyValues, Layer, Measure, Sample, Spread
from slipway.models.gpt import activations, counts, rules, work
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.prediction import planned as prediction
from slipway.models.gpt.rules.data import check_tokens
from slipway.models.gpt.rules.router import notes
from slipway.models.gpt.share import of_layers, share_of
from slipway.models.gpt.spread import spread
from slipway.models.transformer import recompute
from slipway.models.transformer.cache import cache_bytes, least_numbers
from slipway.models.transformer.layer import planned_layer
from slipway.models.work import Work


class GPT:
    """The pure half of the GPT family: see slipway.models.family.Family."""

    engine = "megatron"
    data_kinds = ("text", "chat")
    unit = "token"
    loss = Measure("loss", "nats per token")
    operators = frozenset(OPERATORS) - {"optimizer"}

    def measures(self, config: RunConfig) -> Sequence[Measure]:
        """Return the loss of each depth of multi-token prediction."""
        depths = range(1, gpt_of(config).prediction_depths + 1)
        return [Measure(f"mtp_{depth}_loss", "nats per token") for depth in depths]

    def check(self, config: RunConfig) -> None:
        """Raise UserError for the first rule that the configuration breaks."""
        rules.check(config)

    def check_data(self, config: RunConfig, traits: Mapping[str, Any]) -> None:
        """Raise UserError if tokens would have no embedding."""
        check_tokens(config, traits["vocab_size"])

    def layers(self, config: RunConfig, layout: Parallelism) -> list[Layer]:
        """Return embedding, transformer layers, multi-token prediction, and head: final norm, output layer and loss."""
        model, share = gpt_of(config), share_of(config, layout)
        tp, copies = layout.tensor_model_parallel_size, layout.pipeline_model_parallel_size > 1
        own_output = model.untie_embeddings_and_output_weights  # if it is tied, the head has the copy
        return [
            Layer(
                "embedding",
                counts.embedding(model, tp),
                kept_bytes=activations.embedding_bytes(share),
                sent_bytes=share.state_bytes,  # if the first stage has nothing else
                block=False,
            ),
            *of_layers(share, planned_layer),
            *prediction.layers(share, counts.table(model, tp) if copies and own_output else 0),
            Layer(
                "head",
                counts.head(model, tp, copies_embedding=copies),
                held_bytes=activations.head_bytes(share),
                block=False,
            ),
        ]

    def work(self, config: RunConfig, layout: Parallelism) -> list[Work]:
        """Return the work of the embedding, the transformer layers, multi-token prediction, and the head."""
        return work.layers(config, layout)

    def spans(self, config: RunConfig, layout: Parallelism) -> list[range]:
        """Return the layers of each model chunk, with transformer layers divided by their operations.

        Multi-token prediction stays with the head. Raises UserError as slipway.models.spans.shared_out does.
        """
        model, length = gpt_of(config), tokens_of(config).sequence_length
        costs = counts.costs(model, length, recompute.modules(config, model.blocks))
        ahead = model.prediction_depths
        is_block = [False, *[True] * model.num_layers, *[False] * ahead, False]
        each = [costs.embedding, *costs.layers, *[costs.prediction] * ahead, costs.head]
        return spans.shared_out(is_block, each, layout, always_level=ahead > 0)

    def sample(self, config: RunConfig) -> Sample:
        """Return the sizes and operations of one sequence of tokens."""
        model, tokens = gpt_of(config), tokens_of(config).sequence_length
        again = counts.recomputed_flops_per_sample(model, tokens, self.recomputed(config))
        return Sample(
            units=tokens,
            flops=counts.flops_per_sample(model, tokens),
            active_parameters=counts.active_parameters(model),
            attention_flops=counts.attention_flops(model, tokens),
            palm_flops=counts.palm_flops(model, tokens),
            recomputed_flops=again,
            key_values=_key_values(config),
        )

    def spread(self, config: RunConfig) -> Spread | None:
        """Return the experts that tokens are sent to; None: all layers are dense."""
        return spread(config)

    def recomputed(self, config: RunConfig) -> tuple[str, ...]:
        """Return what is recomputed, as in slipway.models.transformer.recompute.modules."""
        return recompute.modules(config, gpt_of(config).blocks)

    def chance(self, config: RunConfig) -> float | None:
        """Return ln V: the loss of a model that considers all tokens equally likely."""
        return log(gpt_of(config).vocab_size)

    def notes(self, config: RunConfig) -> list[str]:
        """Return a note on a balancing loss that depends on the layout; otherwise nothing."""
        return notes(gpt_of(config))

    def shape(self, config: RunConfig) -> Mapping[str, Any]:
        """Return the fields that weights depend on.

        These are all but the preset's name, dropout, and the fields that only initial values and auxiliary losses
        depend on.
        """
        free = {"name", "hidden_dropout", "attention_dropout", "init_method_std"}
        free |= {"moe_router_load_balancing_type", "moe_aux_loss_coeff", "moe_z_loss_coeff"}
        free |= {"moe_router_bias_update_rate", "mtp_loss_scaling_factor"}
        if gpt_of(config).position_embedding_type == "rope":
            free.add("max_position_embeddings")  # a limit; with learned positions, a size of weights
        return config.model.model_dump(mode="json", exclude={"family", *free})

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        """Return why a backend cannot compute an operator of this model; None: it can."""
        normalization, activation = gpt_of(config).normalization, gpt_of(config).activation
        if (operator, backend) == ("norm", "apex") and normalization != "LayerNorm":
            return f"Megatron-core takes only LayerNorm from apex, not {normalization}"
        if (operator, backend) == ("norm", "triton") and gpt_of(config).hidden_size > NORM_WIDTH[
            normalization
        ]:
            widest = f"{normalization} of rows up to {NORM_WIDTH[normalization]}"
            return f"it does {widest}, not of hidden_size {gpt_of(config).hidden_size}"
        if operator == "activation" and backend != "unfused" and activation != "swiglu":
            return f"only swiglu is fused, not {activation}"
        if operator == "rotary" and backend != "unfused" and gpt_of(config).latent:
            return "latent attention turns its channels by Megatron-core's own functions"
        if (operator, backend) == ("attention", "te") and tokens_of(config).apart:
            return f"it is not told where documents begin ({tokens_of(config).apart})"
        if (operator, backend) == ("attention", "te") and gpt_of(config).window_size:
            ranks = config.parallelism.context_parallel_size
            # for cp_comm_type p2p, Megatron-core's default (DotProductAttention in Transformer Engine)
            if ranks > 1:
                return f"its ring over {ranks} context-parallel ranks takes no sliding window"
        if operator == "moe":
            return recompute.experts_trouble(backend, config, gpt_of(config).blocks)
        return None


def _key_values(config: RunConfig) -> KeyValues:
    model, size = gpt_of(config), 2 if config.training.precision == "bf16" else 4
    longest = model.max_position_embeddings
    first, whole = (cache_bytes(model.blocks, tokens, size) for tokens in (1, longest))
    return KeyValues(first, longest, whole, size * counts.total(model, least_numbers))


FAMILY: Family = GPT()
