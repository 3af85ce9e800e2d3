"""Fields that are agreed on and do nothing yet: refused, so that none is silently ignored."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.gpt.config import Config, gpt_of

ATTENTION = ("window_size", "window_attn_skip_freq", "add_qkv_bias")
LATENT = (
    "multi_latent_attention",
    "q_lora_rank",
    "kv_lora_rank",
    "qk_head_dim",
    "qk_pos_emb_head_dim",
    "v_head_dim",
)
PREDICTION = ("mtp_num_layers", "mtp_loss_scaling_factor")


def check(config: RunConfig) -> None:
    """Raise UserError for the first of them that has a value of its own."""
    model = gpt_of(config)
    for name in (*ATTENTION, *LATENT, *PREDICTION):
        value = getattr(model, name)
        if value != Config.model_fields[name].default:
            raise UserError(f"model.{name}", "is not built yet", value=value)
