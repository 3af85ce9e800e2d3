"""Finds all layouts that fit, best first, and why the others were refused. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product
from typing import Literal, NamedTuple

from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.models import family as family_of
from slipway.plan import rules
from slipway.plan.memory import device_bytes
from slipway.plan.search.candidate import SHARDINGS, Applied, Candidate
from slipway.plan.search.evaluate import Evaluation, Evaluator
from slipway.plan.search.space import DISTRIBUTED, NOTHING, SIZES, STRATEGY, Allowed, Space
from slipway.words import size

MEMORY = "memory"
SPARE = 0.03
"""Share of a device's memory that a layout has to leave free: the plan's estimate may be wrong by as much."""
By = Literal["time", "cost"]


class Layout(NamedTuple):
    """A layout that fits, and what it costs."""

    config: RunConfig
    """The configuration with the layout."""
    candidate: Candidate
    world: int
    replicas: int
    evaluation: Evaluation

    @property
    def seconds(self) -> float | None:
        """Seconds of one step; None: not known."""
        return self.evaluation.seconds["total"] if self.evaluation.seconds else None

    @property
    def memory(self) -> int:
        """Bytes on the fullest device."""
        return self.evaluation.memory["total"]

    @property
    def arrangement(self) -> tuple[int, ...]:
        """The arrangement of ranks; microbatch, sharding and recomputation are variants of it."""
        return (self.world, *self.candidate[:5])


class Found(NamedTuple):
    """The outcome of a search on one number of devices."""

    layouts: list[Layout]
    """The layouts that fit, in the order in which they were looked at."""
    rejected: Counter[str]
    """Reason -> number of candidates; the reason is the field that a rule names, or `memory`."""
    sentences: dict[str, str]
    """Reason -> the message of its rule for the first candidate that breaks it; none for `memory`."""
    nearest: tuple[int, Candidate] | None
    """Among those that need more memory than a device has: the least that one needs, in bytes."""

    @property
    def enumerated(self) -> int:
        """Number of candidates that were looked at."""
        return len(self.layouts) + self.rejected.total()


def search(config: RunConfig, allowed: Allowed = NOTHING, *, first: bool = False) -> Found:
    """Return every layout that fits a configuration's devices; first: stop at the first one that fits.

    Raises UserError if something is wrong that no layout can mend.
    """
    rules.check_resources(config)
    rules.check(_on_one_device(config))
    return _Walk(config, Space.of(config, allowed)).run(first)


def usable_bytes(config: RunConfig) -> int | None:
    """Return the bytes of a device's memory that layouts may take; None: the cluster profile states no memory."""
    device = device_bytes(config)
    return None if device is None else int(device * (1 - SPARE))


def _on_one_device(config: RunConfig) -> RunConfig:
    """Return a configuration without its layout: a mistake that remains is no layout's."""
    alone = config.resources.model_copy(update={"nodes": 1, "devices_per_node": 1})
    training = config.training.model_copy(
        update={"micro_batch_size": 1, "recompute": "none", "recompute_modules": None}
    )
    return config.model_copy(
        update={"resources": alone, "parallelism": Parallelism(), "training": training, "auto": []}
    )


class _Walk:
    """The state of a search. What is refused whatever is inside of a loop is refused there, and counted as a whole.

    The rules of slipway.plan.rules decide; what is cheap to know of them is asked first, then the memory, and then, of
    what is left, the rules themselves.
    """

    def __init__(self, config: RunConfig, space: Space) -> None:
        self.space, self.batch = space, config.training.global_batch_size
        self.applied, self.evaluator = Applied(config, space.world), Evaluator(config)
        self.family, self.device = family_of(config), usable_bytes(config)
        self.layouts: list[Layout] = []
        self.rejected: Counter[str] = Counter()
        self.sentences: dict[str, str] = {}
        self.nearest: tuple[int, Candidate] | None = None
        self._verdicts: dict[object, str | None] = {}

    def run(self, first: bool) -> Found:
        """Look at all candidates, or until one fits, and return the outcome."""
        space = self.space
        inside = len(space.sharding) * len(space.recompute)
        for group in space.groups():
            if first and self.layouts:
                break
            for expert, virtual in product(space.expert, space.virtuals(group[1])):
                place = Candidate(*group, expert, virtual, 1, "none", "none")
                if reason := self._place(place):
                    self._refuse(reason, place, len(space.micro_batch) * inside)
                    continue
                for micro_batch in space.micro_batch:
                    sized = place._replace(micro_batch=micro_batch)
                    if reason := self._batch(sized):
                        self._refuse(reason, sized, inside)
                        continue
                    for sharding, recompute in product(space.sharding, space.recompute):
                        whole = Candidate(*sized[:6], sharding, recompute)
                        if reason := self._sharding(whole) or self._model(whole) or self._take(whole):
                            self._refuse(reason, whole)
        return Found(self.layouts, self.rejected, self.sentences, self.nearest)

    def _refuse(self, reason: str, candidate: Candidate, count: int = 1) -> None:
        self.rejected[reason] += count
        if reason not in self.sentences and reason != MEMORY:
            config = self.applied(candidate)
            error = _error(lambda: rules.check_choice(config))
            self.sentences[reason] = _text(error) if error else "has no effect with one replica"

    def _place(self, candidate: Candidate) -> str | None:
        """Return the field that keeps ranks or layers from being shared out; None if they can be."""
        if candidate.shares(self.space.world) % candidate.expert:
            return SIZES["expert"]
        if candidate.virtual > 1 and candidate.pipeline == 1:
            return SIZES["virtual"]
        key = ("layers", candidate.pipeline, candidate.virtual)
        return self._verdict(key, lambda: self.evaluator.spans(self.applied(candidate), candidate))

    def _batch(self, candidate: Candidate) -> str | None:
        """Return the field that keeps samples from being shared out; None if they can be."""
        microbatches, rest = divmod(self.batch, candidate.micro_batch * candidate.replicas(self.space.world))
        if rest:
            return "training.global_batch_size"
        if candidate.virtual > 1 and microbatches % candidate.pipeline:
            return SIZES["virtual"]
        return None

    def _sharding(self, candidate: Candidate) -> str | None:
        """Return the field with which replicas cannot share, or have nothing to share; None if they can."""
        distributed, strategy = SHARDINGS[candidate.sharding]
        shares = candidate.shares(self.space.world)
        if strategy and candidate.pipeline > 1:
            return SIZES["pipeline"]
        if strategy and shares // candidate.expert == 1:
            return STRATEGY
        if distributed and shares == 1 and "none" in self.space.sharding:
            return DISTRIBUTED
        return None

    def _model(self, candidate: Candidate) -> str | None:
        """Return the field that the family refuses; None if it takes the candidate."""
        key = ("model", candidate._replace(pipeline=1, virtual=1))
        return self._verdict(key, lambda: self.family.check(self.applied(candidate)))

    def _take(self, candidate: Candidate) -> str | None:
        """Add the candidate to the layouts, unless it lacks memory or breaks a rule; return that reason."""
        config = self.applied(candidate)
        memory = self.evaluator.memory(config, candidate)
        if self.device is not None and memory.total > self.device:
            if self.nearest is None or memory.total < self.nearest[0]:
                if reason := self._rules(config, candidate):
                    return reason
                self.nearest = memory.total, candidate
            return MEMORY
        if reason := self._rules(config, candidate) or self._start(config, candidate):
            return reason
        found = self.evaluator.evaluation(config, candidate, memory)
        self.layouts.append(
            Layout(config, candidate, self.space.world, candidate.replicas(self.space.world), found)
        )
        return None

    def _start(self, config: RunConfig, candidate: Candidate) -> str | None:
        """Return a reason if the parameters do not fit before they are sharded, else None.

        Until then, each device holds its whole tensor-parallel share of them (docs/training.md).
        """
        if self.device is None or SHARDINGS[candidate.sharding][1] is None:
            return None
        needed = self.evaluator.whole(config, candidate)
        if needed <= self.device:
            return None
        said = f"at the start a device holds {size(needed)} of whole parameters, more than its {size(self.device)}"
        self.sentences.setdefault(STRATEGY, said)
        return STRATEGY

    def _rules(self, config: RunConfig, candidate: Candidate) -> str | None:
        """Return the field that a broken rule names, after all rules; None if none is broken.

        What they say on the number of stages and microbatches is known by now.
        """
        alike = candidate._replace(pipeline=min(candidate.pipeline, 2), virtual=min(candidate.virtual, 2))
        key = ("rules", alike, candidate.replicas(self.space.world) > 1)
        return self._verdict(key, lambda: rules.check_choice(config))

    def _verdict(self, key: object, check: Callable[[], object]) -> str | None:
        """Return the field that a broken rule names; None if none is broken."""
        if key not in self._verdicts:
            error = _error(check)
            if error:
                self.sentences.setdefault(error.path, _text(error))
            self._verdicts[key] = error.path if error else None
        return self._verdicts[key]


def _error(check: Callable[[], object]) -> UserError | None:
    try:
        check()
    except UserError as error:
        return error
    return None


def _text(error: UserError) -> str:
    return error.problem if error.value is None else f"{error.value} {error.problem}"


def ranked(layouts: Iterable[Layout], by: By = "time") -> list[Layout]:
    """Return the layouts best first: by the `time` of a step, or by its `cost` in device-seconds.

    Equal ones: those that split the model least, then those that need least memory. If no time is known, less
    recomputation and a smaller bubble stand for it.
    """

    def key(layout: Layout) -> tuple:
        candidate = layout.candidate
        seconds = layout.evaluation.work / layout.world if layout.seconds is None else layout.seconds
        price = seconds * (layout.world if by == "cost" else 1)
        split = candidate.tensor * candidate.pipeline * candidate.context * candidate.expert
        return (price, layout.world, split * candidate.virtual, layout.memory, candidate)

    return sorted(layouts, key=key)


def arrangements(layouts: Iterable[Layout]) -> list[tuple[Layout, int]]:
    """Return the first layout of each arrangement of ranks, with the number of its layouts."""
    first: dict[tuple[int, ...], Layout] = {}
    counts: Counter[tuple[int, ...]] = Counter()
    for layout in layouts:
        first.setdefault(layout.arrangement, layout)
        counts[layout.arrangement] += 1
    return [(layout, counts[key]) for key, layout in first.items()]
