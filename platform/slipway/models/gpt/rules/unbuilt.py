"""Fields that are agreed on and do nothing yet: refused, so that none is silently ignored."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.gpt.config import Config, gpt_of

LATENT = (
    "multi_latent_attention",
    "q_lora_rank",
    "kv_lora_rank",
    "qk_head_dim",
    "qk_pos_emb_head_dim",
    "v_head_dim",
)
EXPERTS = (
    "moe_shared_expert_intermediate_size",
    "first_k_dense_replace",
    "moe_ffn_hidden_size",
    "moe_router_score_function",
    "moe_router_pre_softmax",
    "moe_router_topk_scaling_factor",
    "moe_router_num_groups",
    "moe_router_group_topk",
    "moe_router_enable_expert_bias",
    "moe_router_bias_update_rate",
    "moe_router_load_balancing_type",
    "moe_z_loss_coeff",
)
PREDICTION = ("mtp_num_layers", "mtp_loss_scaling_factor")


def check(config: RunConfig) -> None:
    """Raise UserError for the first of them that has a value of its own."""
    model = gpt_of(config)
    for name in (*LATENT, *EXPERTS, *PREDICTION):
        value = getattr(model, name)
        if value != Config.model_fields[name].default:
            raise UserError(f"model.{name}", "is not built yet", value=value)
