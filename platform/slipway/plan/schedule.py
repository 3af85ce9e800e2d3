"""Rules on the length of a run and the course of its learning rate: budget, steps and schedule must agree."""

from slipway.config import budget
from slipway.config.schema import RunConfig
from slipway.errors import UserError


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken rule."""
    _check_budget(config)
    _check_schedule(config)
    _check_steps(config)


def _check_budget(config: RunConfig) -> None:
    """Raise UserError if budget and shares are not as composing makes them; only a changed plan can be so."""
    (name, asked), steps = budget.given(config), config.training.steps
    if budget.steps_of(config) != steps:
        raise UserError(
            "training.steps",
            f"is not what follows from training.{name} {asked:,} / {budget.per_step(config):,} in a step",
            value=steps,
            use=str(budget.steps_of(config)),
        )
    for field, right in budget.shares_of(config, steps).items():
        if (found := getattr(config.optimizer, field)) != right:
            share = budget.SHARES[field]
            raise UserError(
                f"optimizer.{field}",
                f"is not what follows from {share} {getattr(config.optimizer, share):g} x training.steps {steps:,}",
                value=found,
                use=str(right),
            )


def _check_schedule(config: RunConfig) -> None:
    optimizer, steps = config.optimizer, config.training.steps
    if optimizer.min_lr > optimizer.lr:
        raise UserError(
            "optimizer.min_lr",
            f"is more than optimizer.lr {optimizer.lr:g}",
            use=f"at most {optimizer.lr:g}",
            value=f"{optimizer.min_lr:g}",
        )
    if optimizer.lr_warmup_steps >= steps:
        raise UserError(
            "optimizer.lr_warmup_steps",
            f"is not below training.steps {steps}",
            use=f"at most {steps - 1}",
            value=optimizer.lr_warmup_steps,
        )
    decay = optimizer.lr_wsd_decay_steps
    if optimizer.lr_decay_style != "WSD":
        if decay is not None:
            share = optimizer.lr_wsd_decay_fraction
            raise UserError(
                f"optimizer.lr_wsd_decay_{'steps' if share is None else 'fraction'}",
                f"has no effect with lr_decay_style={optimizer.lr_decay_style}",
                value=decay if share is None else share,
                do="set it to null or use lr_decay_style=WSD",
            )
        return
    if decay is None:
        raise UserError(
            "optimizer.lr_wsd_decay_steps",
            "is required by lr_decay_style=WSD",
            do="set it to the number of steps in the final decay, or set lr_wsd_decay_fraction to their share",
        )
    if optimizer.lr_warmup_steps + decay > steps:
        raise UserError(
            "optimizer.lr_wsd_decay_steps",
            f"is too many: lr_warmup_steps {optimizer.lr_warmup_steps} + lr_wsd_decay_steps {decay} = "
            f"{optimizer.lr_warmup_steps + decay} is more than training.steps {steps}",
            value=decay,
            do="reduce one of the two",
        )


def _check_steps(config: RunConfig) -> None:
    stop, steps = config.training.stop_after_step, config.training.steps
    if stop is not None and stop > steps:
        raise UserError(
            "training.stop_after_step",
            f"is more than training.steps {steps}",
            value=stop,
            use=f"at most {steps}",
        )
    profiled = config.logging.profiled
    if profiled and profiled[-1] > steps or config.last_step in profiled[:-1]:
        end = "training.steps" if config.last_step == steps else "training.stop_after_step"
        raise UserError(
            "logging.profile_step",
            f"profiles steps {profiled[0]} to {profiled[-1]}, but {end} is {config.last_step}",
            value=profiled[0],
            use=f"at most {config.last_step - len(profiled) + 1}"
            if config.last_step >= len(profiled)
            else "null",
        )
