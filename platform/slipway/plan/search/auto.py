"""`parallelism=auto`: replaces what was left open by the best layout. Pure."""

from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from slipway.config.schema import RunConfig
from slipway.plan.memory import device_bytes
from slipway.plan.search.search import Layout, ranked, search
from slipway.plan.search.shortage import no_layout
from slipway.plan.search.words import limit, line, of_device
from slipway.words import duration

# Sections that no layout depends on. If jobs of a sweep differ only in these, one search serves all.
IRRELEVANT = {"run", "validation", "evaluation", "checkpoint", "watch", "guard", "logging", "launch"}


class Choice(BaseModel):
    """The layout that the planner chose, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: list[str]
    """Dotted fields that were `auto`."""
    why: str
    """The layout in words, what it costs, and among how many it was the best."""
    kept: bool = False
    """Whether it is taken from the plan.json of an earlier segment of the run."""


class _Run:
    """A configuration that equals another one if everything that a layout depends on is the same."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        schedule = {"optimizer": {"lr", "min_lr", "lr_warmup_steps"}, "training": {"seed", "stop_after_step"}}
        self.key = config.model_dump_json(exclude={**dict.fromkeys(IRRELEVANT, True), **schedule})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Run) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def choose(config: RunConfig) -> tuple[RunConfig, Choice]:
    """Return the configuration with the best layout that fits its devices, and why. The same every time.

    Raises UserError if no layout fits, with what is missing.
    """
    best, why = _best(_Run(config))
    update = {name: getattr(best, name) for name in ("parallelism", "auto")}
    chosen = {
        name: getattr(best.training, name) for name in ("micro_batch_size", "recompute", "recompute_modules")
    }
    training = config.training.model_copy(update=chosen)
    return config.model_copy(update={**update, "training": training}), Choice(fields=config.auto, why=why)


@lru_cache(maxsize=16)
def _best(run: _Run) -> tuple[RunConfig, str]:
    found = search(run.config)
    if not found.layouts:
        raise no_layout(run.config, found)
    layouts = ranked(found.layouts)
    return layouts[0].config, _why(layouts, found.enumerated)


def _why(layouts: list[Layout], enumerated: int) -> str:
    best = layouts[0]
    parts = [line(best), of_device(best, device_bytes(best.config))]
    if best.seconds is not None:
        name, share = limit(best)
        parts.append(f"{duration(best.seconds)} a step, {share:.0%} of it {name.replace('_', ' ')}")
    first = "the fastest" if best.seconds is not None else "the one that computes and splits least"
    return f"{'; '.join(parts)}; {first} of {len(layouts):,} that fit, of {enumerated:,} layouts"
