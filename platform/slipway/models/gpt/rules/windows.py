"""Rules for sliding windows."""

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.errors import UserError
from slipway.models.gpt.config import gpt_of

WINDOW, WHICH = "model.window_size", "model.window_attn_skip_freq"


def check(config: RunConfig) -> None:
    """Raise UserError for a window without effect, or if the choice of layers makes no sense."""
    model, length = gpt_of(config), tokens_of(config).sequence_length
    window, which = model.window_size, model.window_attn_skip_freq
    if window is None:
        if which is not None:
            raise UserError(WHICH, f"has no effect without {WINDOW}", value=which, use="null")
        return
    if window > length:
        raise UserError(
            WINDOW,
            f"is above data.sequence_length {length}: no token would see less than all before it",
            value=window,
            use=f"at most {length}, or null",
        )
    if isinstance(which, list) and len(which) != model.num_layers:
        raise UserError(
            WHICH,
            f"describes {len(which)} layers, but model.num_layers is {model.num_layers}",
            value=which,
            use=f"{model.num_layers} times 0 or 1, or a number",
        )
    if not any(model.windows):
        raise UserError(
            WHICH, f"leaves no layer with {WINDOW} {window}", value=which, do=f"set {WINDOW}=null"
        )
