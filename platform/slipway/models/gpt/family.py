"""GPT without torch: what it says of its layers, its samples and its loss."""

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
    """See slipway.models.family.Family."""

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
        """Raise UserError where tokens would have no embedding."""
        check_tokens(config, traits["vocab_size"])

    def layers(self, config: RunConfig, layout: Parallelism) -> list[Layer]:
        """Return embedding, transformer layers, multi-token prediction, and the head: final norm, output layer and loss."""
        model, share = gpt_of(config), share_of(config, layout)
        tp, copies = layout.tensor_model_parallel_size, layout.pipeline_model_parallel_size > 1
        own_output = model.untie_embeddings_and_output_weights  # where it is tied, the head has the copy
        return [
            Layer(
                "embedding",
                counts.embedding(model, tp),
                kept_bytes=activations.embedding_bytes(share),
                sent_bytes=share.state_bytes,  # where the first stage has nothing else
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
        """Of the embedding, the transformer layers, multi-token prediction, and the head."""
        return work.layers(config, layout)

    def spans(self, config: RunConfig, layout: Parallelism) -> list[range]:
        """Return Transformer layers as slipway.models.spans shares them out, by their operations. Raises UserError.

        Multi-token prediction stays with the head.
        """
        model, length = gpt_of(config), tokens_of(config).sequence_length
        costs = counts.costs(model, length, recompute.modules(config, model.blocks))
        ahead = model.prediction_depths
        is_block = [False, *[True] * model.num_layers, *[False] * ahead, False]
        each = [costs.embedding, *costs.layers, *[costs.prediction] * ahead, costs.head]
        return spans.shared_out(is_block, each, layout, always_level=ahead > 0)

    def sample(self, config: RunConfig) -> Sample:
        """Return a sequence of tokens."""
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
        """Return tokens to experts."""
        return spread(config)

    def recomputed(self, config: RunConfig) -> tuple[str, ...]:
        """See slipway.models.gpt.recompute."""
        return recompute.modules(config, gpt_of(config).blocks)

    def chance(self, config: RunConfig) -> float | None:
        """Return ln V: the loss of a model for which all tokens are equally likely."""
        return log(gpt_of(config).vocab_size)

    def notes(self, config: RunConfig) -> list[str]:
        """Of a balancing loss that depends on the layout."""
        return notes(gpt_of(config))

    def shape(self, config: RunConfig) -> Mapping[str, Any]:
        """Return all but the preset's name, what is dropped, and what only initial values and auxiliary losses depend on."""
        free = {"name", "hidden_dropout", "attention_dropout", "init_method_std"}
        free |= {"moe_router_load_balancing_type", "moe_aux_loss_coeff", "moe_z_loss_coeff"}
        free |= {"moe_router_bias_update_rate", "mtp_loss_scaling_factor"}
        if gpt_of(config).position_embedding_type == "rope":
            free.add("max_position_embeddings")  # a limit; learned positions are as many weights
        return config.model.model_dump(mode="json", exclude={"family", *free})

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        """Say why a backend cannot compute an operator of this model; None where it can."""
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
            # of cp_comm_type p2p, Megatron-core's default (DotProductAttention in Transformer Engine)
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
