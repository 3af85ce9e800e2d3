"""Rules on the fields that watch how a model spreads its work, such as tokens over experts (models.family.Spread)."""

from slipway.config.schema import RunConfig
from slipway.config.watch import Guard
from slipway.errors import UserError
from slipway.models import spread_of


def check(config: RunConfig) -> None:
    """Raise UserError for the first field that has no effect."""
    spread, guard, interval = spread_of(config), config.guard, config.logging.load_interval
    if spread is None and interval is not None:
        raise UserError(
            "logging.load_interval", f"has no effect: {_nothing(config)}", value=interval, use="null"
        )
    if spread is None and guard.on_collapse == "stop":
        raise UserError("guard.on_collapse", f"has no effect: {_nothing(config)}", value="stop", use="warn")
    if spread and spread.chosen == spread.size and guard.on_collapse == "stop":
        raise UserError(
            "guard.on_collapse",
            f"has no effect if each goes to all {spread.size} {spread.parts}: none can be left out",
            value="stop",
            use="warn",
        )
    for name in ("collapse_evenness", "collapse_steps"):
        value, default = getattr(guard, name), Guard.model_fields[name].default
        if guard.on_collapse == "ignore" and value != default:
            raise UserError(
                f"guard.{name}", "has no effect with on_collapse=ignore", value=value, use=f"{default:g}"
            )


def _nothing(config: RunConfig) -> str:
    return (
        f"this model.family={config.model.family} shares nothing out, as a mixture does tokens among experts"
    )
