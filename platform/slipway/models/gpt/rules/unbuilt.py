"""Fields that are agreed on and do nothing yet: refused, so that none is silently ignored."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.gpt.config import Config, gpt_of

ATTENTION = ("window_size", "window_attn_skip_freq", "add_qkv_bias")


def check(config: RunConfig) -> None:
    """Raise UserError for the first of them that has a value of its own."""
    model = gpt_of(config)
    for name in ATTENTION:
        value = getattr(model, name)
        if value != Config.model_fields[name].default:
            raise UserError(f"model.{name}", "is not built yet", value=value)
