"""The space of a search: divisors within sensible bounds, or the values that the user allows. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.models import family as family_of
from slipway.plan import rules
from slipway.plan.search.candidate import SHARDINGS, Applied, Candidate

MOST_CHUNKS = 16
"""Most virtual stages: with more, each exchange between stages is too small to hide."""
LEAST_UNITS = 1024
"""Least units of a sample on each context-parallel rank: below it, exchanging costs more than computing."""
MICRO_BATCHES = (*range(1, 17), 32, 64)
MOST_EXPERT_RANKS = 512

Allowed = Mapping[str, Sequence[Any]]
"""Dotted field -> the values that the user allows for it, instead of the bounds above."""
NOTHING: Allowed = MappingProxyType({})

SIZES = {
    "tensor": "parallelism.tensor_model_parallel_size",
    "pipeline": "parallelism.pipeline_model_parallel_size",
    "context": "parallelism.context_parallel_size",
    "expert": "parallelism.expert_model_parallel_size",
    "virtual": "parallelism.virtual_pipeline_model_parallel_size",
    "micro_batch": "training.micro_batch_size",
    "recompute": "training.recompute",
}
DISTRIBUTED, STRATEGY = "parallelism.use_distributed_optimizer", "parallelism.data_parallel_sharding_strategy"
SEARCHED = (*SIZES.values(), DISTRIBUTED, STRATEGY)
"""The fields for which several values can be allowed."""


class Space(NamedTuple):
    """The values of each dimension; every combination that divides the devices is a candidate."""

    world: int
    tensor: tuple[int, ...]
    pipeline: tuple[int, ...]
    context: tuple[int, ...]
    expert: tuple[int, ...]
    virtual: tuple[int, ...]
    micro_batch: tuple[int, ...]
    sharding: tuple[str, ...]
    recompute: tuple[str, ...]

    @classmethod
    def of(cls, config: RunConfig, allowed: Allowed = NOTHING) -> "Space":
        """Return the values to search: for `auto` fields all within bounds, for the others the ones they have."""
        found = _bounds(config)
        for name, field in SIZES.items():
            if field in allowed:
                found[name] = [value or 1 for value in allowed[field]]
            elif field not in config.auto:
                section, _, key = field.partition(".")
                found[name] = [getattr(getattr(config, section), key) or 1]
        found["sharding"] = _shardings(config, allowed)
        return cls(rules.world_size(config), **{name: tuple(values) for name, values in found.items()})

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """Yield the tensor, pipeline and context sizes that divide the devices."""
        for tensor, pipeline, context in product(self.tensor, self.pipeline, self.context):
            if self.world % (tensor * pipeline * context) == 0:
                yield tensor, pipeline, context

    def virtuals(self, pipeline: int) -> tuple[int, ...]:
        """Return the numbers of virtual stages: without stages only 1, unless the user wants others."""
        return (1,) if pipeline == 1 and 1 in self.virtual else self.virtual

    def candidates(self) -> Iterator[Candidate]:
        """Yield all candidates, in a fixed order."""
        for group in self.groups():
            for rest in product(
                self.expert, self.virtuals(group[1]), self.micro_batch, self.sharding, self.recompute
            ):
                yield Candidate(*group, *rest)


def _bounds(config: RunConfig) -> dict[str, Sequence[Any]]:
    family, world = family_of(config), rules.world_size(config)
    layers = family.layers(config, Parallelism())
    blocks = sum(layer.block for layer in layers)
    units = family.sample(config).units
    devices = _divisors(world)
    return {
        "tensor": _divisors(config.resources.devices_per_node),
        "pipeline": [n for n in devices if n <= blocks],
        "context": [n for n in devices if n == 1 or units // n >= LEAST_UNITS],
        "expert": _expert_sizes(config, devices) if any(layer.parameters.expert for layer in layers) else [1],
        "virtual": sorted(
            {n for n in _divisors(blocks) if n <= MOST_CHUNKS} | {*range(1, min(4, blocks) + 1)}
        ),
        "micro_batch": [n for n in MICRO_BATCHES if config.training.global_batch_size % n == 0],
        "recompute": _recomputes(config),
    }


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, int(number**0.5) + 1) if number % n == 0]
    return small + [number // n for n in reversed(small) if n * n != number]


def _expert_sizes(config: RunConfig, devices: Sequence[int]) -> list[int]:
    """Return the expert-parallel sizes that the family accepts: only it knows how many experts there are."""
    one = config.model_copy(update={"parallelism": Parallelism()})
    sizes = [n for n in devices if n <= MOST_EXPERT_RANKS]
    return [n for n in sizes if _takes(one, expert_model_parallel_size=n)] or [1]


def _takes(config: RunConfig, **sizes: int) -> bool:
    layout = config.parallelism.model_copy(update=sizes)
    try:
        family_of(config).check(config.model_copy(update={"parallelism": layout}))
    except UserError:
        return False
    return True


def _recomputes(config: RunConfig) -> list[str]:
    """Return those of none, selective and full that differ in what they compute again."""
    applied, family = Applied(config, 1), family_of(config)
    found: dict[tuple[str, ...], str] = {}
    for recompute in ("none", "selective", "full"):
        training = applied(Candidate(1, 1, 1, 1, 1, 1, "none", recompute)).training
        try:
            modules = tuple(family.recomputed(config.model_copy(update={"training": training})))
        except UserError:
            modules = (recompute,)  # its rule refuses it later, and counts it
        found.setdefault(modules, recompute)
    return list(found.values())


def _shardings(config: RunConfig, allowed: Allowed) -> list[str]:
    layout = config.parallelism
    given = {DISTRIBUTED: layout.use_distributed_optimizer, STRATEGY: layout.data_parallel_sharding_strategy}
    choices = {field: [value] for field, value in given.items() if field not in config.auto} | dict(allowed)
    found = [
        name
        for name, (distributed, strategy) in SHARDINGS.items()
        if distributed in choices.get(DISTRIBUTED, [distributed])
        and strategy in choices.get(STRATEGY, [strategy])
    ]
    if not found:
        asked = " or ".join(map(str, choices[STRATEGY]))
        raise UserError(
            DISTRIBUTED, f"does not work: {STRATEGY}={asked} requires it", value=False, use="true"
        )
    return found
