"""Rules for recorded layers (cuda_graph_impl=local), which do the same for every batch."""

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.errors import UserError
from slipway.models.gpt.config import gpt_of


def check(config: RunConfig) -> None:
    """Raise UserError if layers are to be recorded that do something different each time."""
    model = gpt_of(config)
    if config.parallelism.cuda_graph_impl != "local":
        return
    apart, value = tokens_of(config).apart.partition("=")[::2]
    for path, found, why in (
        ("model.num_moe_experts", model.num_moe_experts, "how many tokens an expert gets differs"),
        # Megatron-core replays the recording of a training step in validation, too
        ("model.hidden_dropout", model.hidden_dropout, "validation would drop, too"),
        ("model.attention_dropout", model.attention_dropout, "validation would drop, too"),
        (apart, value, "documents differ"),
    ):
        if found:
            raise UserError(
                "parallelism.cuda_graph_impl",
                f"does not work with {path}={str(found).lower()}: one recording of "
                f"a layer serves all batches, and {why}",
                value="local",
                use="null",
            )
