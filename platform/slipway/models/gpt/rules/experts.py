"""Rules of mixtures of experts."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.divisible import check_divisible
from slipway.models.gpt.config import gpt_of


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken one."""
    _check_model(config)
    _check_layout(config)


def _check_model(config: RunConfig) -> None:
    model = gpt_of(config)
    if model.num_moe_experts and model.add_bias_linear:
        raise UserError(
            "model.add_bias_linear",
            f"does not work with num_moe_experts {model.num_moe_experts} (Megatron-core adds experts' biases on "
            "one rank only, and fails there)",
            value=True,
            use="false",
        )
    if model.num_moe_experts and model.moe_router_topk > model.num_moe_experts:
        raise UserError(
            "model.moe_router_topk",
            f"is more than num_moe_experts {model.num_moe_experts}",
            value=model.moe_router_topk,
        )


def _check_layout(config: RunConfig) -> None:
    model, layout = gpt_of(config), config.parallelism
    tp, ep = layout.tensor_model_parallel_size, layout.expert_model_parallel_size
    if ep > 1 and not model.num_moe_experts:
        raise UserError(
            "parallelism.expert_model_parallel_size",
            "needs a model with experts, but model.num_moe_experts is null",
            value=ep,
        )
    if model.num_moe_experts:
        check_divisible(
            "model.num_moe_experts",
            "experts",
            model.num_moe_experts,
            "parallelism.expert_model_parallel_size",
            ep,
        )
        if tp > 1 and not layout.sequence_parallel:
            raise UserError(
                "parallelism.sequence_parallel",
                f"does not work with experts and tensor_model_parallel_size {tp} (a rule of Megatron-core)",
                value=False,
                use="true",
            )
