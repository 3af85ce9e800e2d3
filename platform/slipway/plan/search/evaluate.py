"""The cost of a layout: seconds and bytes by part, as in the plan, fast enough for thousands of layouts."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from slipway.config.schema import RunConfig
from slipway.models import family as family_of
from slipway.models.family import Layer, Sample
from slipway.models.work import Work
from slipway.plan import rules
from slipway.plan.cost import TimeEstimate, estimate, pipeline_bubble, recompute_factor
from slipway.plan.layout import Grid
from slipway.plan.memory import PARTS, Keeps, Share, StageMemory, stage_memory
from slipway.plan.search.candidate import Candidate
from slipway.plan.step.devices import hardware_of
from slipway.plan.step.stages import Job
from slipway.plan.step.step import step_seconds

T = TypeVar("T")


class Evaluation(NamedTuple):
    """Seconds of a step and bytes of the fullest device, by the parts that the plan's JSON has, and `total`."""

    seconds: dict[str, float] | None
    """None: nothing is known of the device."""
    memory: dict[str, int]
    work: float
    """Work and idle time of devices for each FLOP counted: layouts are compared by it if no time is known."""


class Evaluator:
    """Evaluates the layouts of one run; what several of them have in common is computed once."""

    def __init__(self, config: RunConfig) -> None:
        self.family, self.world = family_of(config), rules.world_size(config)
        self.modelled = config.cluster.expected_mfu is None
        self.hardware = hardware_of(config) if self.modelled else None
        self._found: dict[object, object] = {}

    def memory(self, config: RunConfig, candidate: Candidate) -> StageMemory:
        """Return the memory of a rank of the fullest stage. Raises UserError if the layers cannot be shared out.

        config: with the candidate's layout. Earlier stages have more microbatches in flight, so that of stages with the
        same layers the first one is the fullest.
        """
        share, grid = self._share(config, candidate), self._grid(candidate)
        microbatches = rules.num_microbatches(config)
        keeps = self._once(("keeps", candidate.sharding), lambda: Keeps.of(config))
        stages = [
            stage_memory(config, share, grid, stage, microbatches, keeps)
            for stage in self._stages(share, candidate)
        ]
        return max(stages, key=lambda stage: stage.total)

    def whole(self, config: RunConfig, candidate: Candidate) -> int:
        """Return the bytes of the parameters of a rank whose layers are all on one stage, before they are sharded."""
        each = 2 if config.training.precision == "bf16" else 4
        return each * sum(layer.parameters.total for layer in self._layers(config, candidate))

    def evaluation(self, config: RunConfig, candidate: Candidate, memory: StageMemory) -> Evaluation:
        """Return the time and the memory of a layout; its memory is known already."""
        sample, microbatches = self._sample(config, candidate), rules.num_microbatches(config)
        share, grid = self._share(config, candidate), self._grid(candidate)
        seconds = None
        if self.hardware is not None:
            works = self._works(config, candidate)
            job = Job(config, grid, share.layers, works, share.spans, microbatches)
            seconds = step_seconds(job, self.hardware).parts
            seconds["total"] = sum(seconds.values())
        elif not self.modelled:
            seconds = _parts(estimate(config, share, grid, microbatches, sample))
        idle = pipeline_bubble(candidate.pipeline, candidate.virtual, microbatches)
        work = recompute_factor(sample.flops, sample.recomputed_flops) * (1 + idle)
        return Evaluation(
            seconds, {**{part: getattr(memory, part) for part in PARTS}, "total": memory.total}, work
        )

    def spans(self, config: RunConfig, candidate: Candidate) -> list[range]:
        """Return the layers of each model chunk. Raises UserError if they cannot be shared out."""
        key = ("spans", candidate.pipeline, candidate.virtual, candidate.recompute)
        return self._once(key, lambda: self.family.spans(config, config.parallelism))

    def _grid(self, candidate: Candidate) -> Grid:
        return Grid(
            tp=candidate.tensor,
            cp=candidate.context,
            ep=candidate.expert,
            dp=candidate.replicas(self.world),
            pp=candidate.pipeline,
        )

    def _share(self, config: RunConfig, candidate: Candidate) -> Share:
        share = _Share(self._layers(config, candidate), self.spans(config, candidate))
        share.known = self._once(("kinds", _alike(candidate)), dict)
        return share

    def _layers(self, config: RunConfig, candidate: Candidate) -> list[Layer]:
        key = ("layers", _alike(candidate))
        return self._once(key, lambda: self.family.layers(config, config.parallelism))

    def _works(self, config: RunConfig, candidate: Candidate) -> Sequence[Work]:
        key = ("works", _alike(candidate))
        return self._once(key, lambda: self.family.work(config, config.parallelism))

    def _sample(self, config: RunConfig, candidate: Candidate) -> Sample:
        return self._once(("sample", candidate.recompute), lambda: self.family.sample(config))

    def _stages(self, share: Share, candidate: Candidate) -> list[int]:
        """Return the stages that can be the fullest.

        That is each stage for which no earlier one has at least as many layers of each kind in each chunk.
        """

        def fullest() -> list[int]:
            numbers: dict[Layer, int] = {}
            kinds = [numbers.setdefault(layer._replace(name=""), len(numbers)) for layer in share.layers]
            counted = {span: Counter(kinds[span.start : span.stop]) for span in share.spans}
            found: dict[int, list[Counter[int]]] = {}
            for stage in range(candidate.pipeline):
                chunks = [counted[span] for span in share.spans[stage :: candidate.pipeline]]
                if not any(_covers(earlier, chunks) for earlier in found.values()):
                    found[stage] = chunks
            return list(found)

        key = ("stages", candidate.pipeline, candidate.virtual, candidate.recompute)
        return self._once(key, fullest)

    def _once(self, key: object, compute: Callable[[], T]) -> T:
        if key not in self._found:
            self._found[key] = compute()
        return self._found[key]  # type: ignore[return-value]


def _parts(time: TimeEstimate) -> dict[str, float] | None:
    """Return the seconds that follow from cluster.expected_mfu, by part as far as it has parts; None if none follow."""
    total = time.seconds_per_step
    if total is None:
        return None
    busy = total / (1 + time.pipeline_bubble)
    products = busy / time.recompute_factor
    return {"products": products, "recompute": busy - products, "bubble": total - busy, "total": total}


class _Share(Share):
    """A share that remembers the kinds of layers of each chunk, for the next layout with the same layers."""

    known: dict[range, list[tuple[Layer, int]]]

    def kinds(self, span: range) -> list[tuple[Layer, int]]:
        """Return the different layers of a chunk, computed once; see slipway.plan.memory."""
        if span not in self.known:
            self.known[span] = super().kinds(span)
        return self.known[span]


def _alike(candidate: Candidate) -> Candidate:
    """Return the candidate reduced to what a rank's layers depend on.

    They depend neither on the number of stages beyond two nor on what replicas share.
    """
    return candidate._replace(pipeline=min(candidate.pipeline, 2), virtual=1, sharding="none")


def _covers(stage: Sequence[Counter[int]], other: Sequence[Counter[int]]) -> bool:
    """Return whether a stage has in each chunk all the layers that another one has."""
    return all(here >= there for here, there in zip(stage, other, strict=True))
