"""The fields of Megatron-core's TransformerConfig for a GPT's router: the choice of experts, and even loads."""

from typing import Any

from slipway.config.schema import RunConfig
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.config import parts_of_balance, samples_of_balance


def router(config: RunConfig) -> dict[str, Any]:
    """Return the router's fields of TransformerConfig; none for a model without experts.

    A balancing loss is scaled up by the factor by which Megatron-core scales it down: then it is the same in every
    layout.
    """
    model = gpt_of(config)
    if not model.num_moe_experts:
        return {}
    parts, kind = parts_of_balance(config.parallelism), model.moe_router_load_balancing_type
    balance = model.moe_aux_loss_coeff * parts if kind != "none" else 0.0
    if kind == "seq_aux_loss":
        balance *= samples_of_balance(config.training.micro_batch_size)
    z_loss = model.moe_z_loss_coeff
    return dict(
        moe_router_score_function=model.moe_router_score_function,
        moe_router_pre_softmax=model.moe_router_pre_softmax,
        moe_router_topk_scaling_factor=model.moe_router_topk_scaling_factor,
        moe_router_num_groups=model.moe_router_num_groups,
        moe_router_group_topk=model.moe_router_group_topk,
        moe_router_enable_expert_bias=model.moe_router_enable_expert_bias,
        moe_router_bias_update_rate=model.moe_router_bias_update_rate,
        moe_router_load_balancing_type=kind,
        moe_aux_loss_coeff=balance,
        moe_z_loss_coeff=None if z_loss is None else z_loss * parts,
    )
