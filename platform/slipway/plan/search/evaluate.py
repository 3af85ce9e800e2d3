"""What a layout costs: seconds and bytes by part, as the plan has them, fast enough for thousands of layouts."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from slipway.config.schema import RunConfig
from slipway.models import family as family_of
from slipway.models.family import Layer, Sample
from slipway.plan import rules
from slipway.plan.cost import TimeEstimate, estimate
from slipway.plan.layout import Grid
from slipway.plan.memory import Share, StageMemory, stage_memory
from slipway.plan.search.candidate import Candidate

T = TypeVar("T")


class Evaluator:
    """Evaluates the layouts of one run; what several of them have in common is computed once."""

    def __init__(self, config: RunConfig) -> None:
        self.family, self.world = family_of(config), rules.world_size(config)
        self._found: dict[object, object] = {}

    def memory(self, config: RunConfig, candidate: Candidate) -> StageMemory:
        """Memory of a rank of the fullest stage. Raises UserError where the layers cannot be shared out.

        config: with the candidate's layout. Of stages with the same layers the first one is the fullest, as it has the
        most microbatches in flight.
        """
        share, grid = (
            Share(self._layers(config, candidate), self.spans(config, candidate)),
            self._grid(candidate),
        )
        microbatches = rules.num_microbatches(config)
        stages = [
            stage_memory(config, share, grid, stage, microbatches) for stage in self._stages(share, candidate)
        ]
        return max(stages, key=lambda stage: stage.total)

    def whole(self, config: RunConfig, candidate: Candidate) -> int:
        """Bytes of the parameters of a rank whose layers are all on one stage, before they are sharded."""
        each = 2 if config.training.precision == "bf16" else 4
        return each * sum(layer.parameters.total for layer in self._layers(config, candidate))

    def time(self, config: RunConfig, candidate: Candidate) -> TimeEstimate:
        """Time of a step."""
        return estimate(config, self.world, rules.num_microbatches(config), self._sample(config, candidate))

    def _grid(self, candidate: Candidate) -> Grid:
        return Grid(
            tp=candidate.tensor,
            cp=candidate.context,
            ep=candidate.expert,
            dp=candidate.replicas(self.world),
            pp=candidate.pipeline,
        )

    def _layers(self, config: RunConfig, candidate: Candidate) -> list[Layer]:
        key = candidate._replace(pipeline=min(candidate.pipeline, 2), virtual=1, sharding="none")
        return self._once(("layers", key), lambda: self.family.layers(config, config.parallelism))

    def spans(self, config: RunConfig, candidate: Candidate) -> list[range]:
        """Layers of each model chunk. Raises UserError where they cannot be shared out."""
        key = ("spans", candidate.pipeline, candidate.virtual)
        return self._once(key, lambda: self.family.spans(config, config.parallelism))

    def _sample(self, config: RunConfig, candidate: Candidate) -> Sample:
        return self._once(("sample", candidate.recompute), lambda: self.family.sample(config))

    def _stages(self, share: Share, candidate: Candidate) -> list[int]:
        """The first stage of each kind: those with the same layers in each chunk are of one kind."""

        def first() -> list[int]:
            numbers: dict[Layer, int] = {}
            kinds = [numbers.setdefault(layer._replace(name=""), len(numbers)) for layer in share.layers]
            found: dict[tuple, int] = {}
            for stage in range(candidate.pipeline):
                chunks = share.spans[stage :: candidate.pipeline]
                last = chunks[-1].stop == len(kinds)
                signature = tuple(tuple(kinds[span.start : span.stop]) for span in chunks)
                found.setdefault((last, signature), stage)
            return list(found.values())

        return self._once(("stages", candidate.pipeline, candidate.virtual), first)

    def _once(self, key: object, compute: Callable[[], T]) -> T:
        if key not in self._found:
            self._found[key] = compute()
        return self._found[key]  # type: ignore[return-value]


class Evaluation(NamedTuple):
    """Seconds of a step and bytes of the fullest device, by part, `total` among them."""

    seconds: dict[str, float] | None
    """None: the cluster profile states no peak."""
    memory: dict[str, int]
    work: float
    """What devices are busy or idle with for each FLOP counted: what layouts are compared by where no time is known."""


def evaluation(time: TimeEstimate, memory: StageMemory) -> Evaluation:
    """Both by the names of parts that the plan's JSON has."""
    parts = {name: value for name, value in memory.model_dump().items() if name != "stage"}
    work = time.recompute_factor * (1 + time.pipeline_bubble)
    return Evaluation(_seconds(time), {**parts, "total": memory.total}, work)


def _seconds(time: TimeEstimate) -> dict[str, float] | None:
    total = time.seconds_per_step
    if total is None:
        return None
    busy = total / (1 + time.pipeline_bubble)
    products = busy / time.recompute_factor
    return {"products": products, "recompute": busy - products, "bubble": total - busy, "total": total}
