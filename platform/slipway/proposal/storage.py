"""The bytes that a run writes and reads. Pure except for the sizes of files."""

from dataclasses import dataclass

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.plan import Plan
from slipway.plan.summary import checkpoint_bytes, checkpoint_parts
from slipway.words import size


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run."""

    one: int
    """Bytes."""
    written: int
    at_once: int
    """The most on disk at once, with the one that is being written."""
    arithmetic: str


def checkpoints(plan: Plan) -> Checkpoints:
    """Return the size and the numbers of a run's checkpoints (section `checkpoint`)."""
    settings, steps = plan.config.checkpoint, plan.config.training.steps
    written = -(-steps // settings.interval) if settings.interval else 1
    kept = written
    if settings.keep_last is not None:
        for_good = steps // settings.keep_every if settings.keep_every else 0
        kept = min(written, settings.keep_last + settings.keep_best + for_good + 1)
    one = checkpoint_bytes(plan.config, plan.parameters)
    parts = checkpoint_parts(plan.config, plan.parameters)
    arithmetic = " + ".join(f"{number:,} parameters × {each:g} bytes" for number, each in parts)
    return Checkpoints(one, written, kept, f"{arithmetic} = {size(one)}")


def prepared_bytes(config: RunConfig) -> int | None:
    """Return the bytes of the prepared data; None if they are not all here, or nothing is prepared."""
    paths = kind_of(config).written(config)
    try:
        return sum(path.stat().st_size for path in paths) or None
    except OSError:
        return None
