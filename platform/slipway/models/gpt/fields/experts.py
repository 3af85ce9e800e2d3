"""Mixtures of experts: which layers have one, its experts, its router, and what balances it."""

from typing import Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt


class Experts(BaseModel):
    """Fields of a GPT's mixtures of experts."""

    num_moe_experts: PositiveInt | None = Field(
        default=None, description="Experts per layer; null: a dense MLP."
    )
    moe_ffn_hidden_size: PositiveInt | None = Field(
        default=None, description="Width of one expert; null: ffn_hidden_size."
    )
    moe_shared_expert_intermediate_size: PositiveInt | None = Field(
        default=None, description="Total width of the shared experts, which process every token; null: none."
    )
    first_k_dense_replace: int = Field(
        default=0, ge=0, description="Number of first layers that have a dense MLP instead of experts."
    )
    moe_router_topk: PositiveInt = Field(
        default=2, description="Number of experts that each token is sent to."
    )
    moe_router_score_function: Literal["softmax", "sigmoid"] = Field(
        default="softmax", description="Function that turns the router's outputs into the experts' weights."
    )
    moe_router_pre_softmax: bool = Field(
        default=False,
        description="Apply the softmax over all experts before the best are chosen, so that weights do not sum to "
        "one.",
    )
    moe_router_topk_scaling_factor: PositiveFloat | None = Field(
        default=None, description="Factor for the weights of the chosen experts; null: 1."
    )
    moe_router_num_groups: PositiveInt | None = Field(
        default=None,
        description="Number of groups of experts, of which a token visits moe_router_group_topk; null: no groups.",
    )
    moe_router_group_topk: PositiveInt | None = Field(
        default=None,
        description="Number of groups that a token visits: those with the largest sums of their best "
        "moe_router_topk / moe_router_group_topk experts.",
    )
    moe_router_enable_expert_bias: bool = Field(
        default=False,
        description="Add a bias to each expert's score when experts are chosen, and move it against the expert's "
        "load after each step.",
    )
    moe_router_bias_update_rate: PositiveFloat = Field(
        default=1e-3, description="Amount by which that bias moves after each step."
    )
    moe_router_load_balancing_type: Literal["aux_loss", "seq_aux_loss", "global_aux_loss", "none"] = Field(
        default="seq_aux_loss",
        description="Tokens over which the load-balancing loss is computed. seq_aux_loss: a sequence, in any "
        "layout; aux_loss: a microbatch; global_aux_loss: those of all replicas so far in the step; "
        "none: no such loss.",
    )
    moe_aux_loss_coeff: float = Field(default=0.01, ge=0.0, description="Weight of the load-balancing loss.")
    moe_z_loss_coeff: float | None = Field(
        default=None,
        ge=0.0,
        description="Weight of the loss on the size of the router's outputs (ST-MoE); null: none.",
    )
