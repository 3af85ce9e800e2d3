"""Ranks and their coordinates, stages and their layers: pure arithmetic.

Ranks follow Megatron-core's default order tp-cp-ep-dp-pp, tensor parallel fastest. Expert parallelism has a grid of its
own there (`parallel_state.initialize_model_parallel`): within one pipeline stage the tensor-parallel groups, cp x dp of
them, are counted once more as ep x expert-data-parallel, ep fastest.
"""

from dataclasses import dataclass

from slipway.config.schema import Parallelism


@dataclass(frozen=True)
class Coordinates:
    """The place of one rank. `ep` follows from `cp` and `dp`; it names no rank of its own."""

    tp: int
    cp: int
    ep: int
    dp: int
    pp: int


@dataclass(frozen=True)
class Grid:
    """Sizes of the grid of ranks; world size is tp x cp x dp x pp."""

    tp: int = 1
    cp: int = 1
    ep: int = 1
    dp: int = 1
    pp: int = 1

    @classmethod
    def of(cls, layout: Parallelism, world_size: int) -> "Grid":
        """Return the grid of `world_size` ranks; the sizes are known to divide it."""
        tp, cp = layout.tensor_model_parallel_size, layout.context_parallel_size
        pp = layout.pipeline_model_parallel_size
        dp, rest = divmod(world_size, tp * cp * pp)
        assert dp and not rest, "make_plan has refused this layout"
        return cls(tp=tp, cp=cp, ep=layout.expert_model_parallel_size, dp=dp, pp=pp)

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.tp * self.cp * self.dp * self.pp

    @property
    def expert_dp(self) -> int:
        """Replicas of each expert."""
        return self.cp * self.dp // self.ep

    def coordinates(self, rank: int) -> Coordinates:
        """Return the coordinates of a rank."""
        assert 0 <= rank < self.world_size
        group, tp = divmod(rank, self.tp)
        pp, group = divmod(group, self.cp * self.dp)
        dp, cp = divmod(group, self.cp)
        return Coordinates(tp=tp, cp=cp, ep=group % self.ep, dp=dp, pp=pp)

    def rank(self, *, tp: int, cp: int, dp: int, pp: int) -> int:
        """Return the rank at these coordinates."""
        return tp + self.tp * (cp + self.cp * (dp + self.dp * pp))


def chunks_in_flight(stages: int, virtual_stages: int, microbatches: int, stage: int) -> int:
    """Return how many forward passes of one model chunk a stage keeps the activations of, at its fullest.

    1F1B: P - p. Interleaved: 2 (P - p - 1) + (V - 1) P + 1, Megatron-core's warm-up and the next pass; arXiv
    2205.05198, section 4.2.3, has its value on stage 0: L (1 + (P - 1) / (P V)) layers. Never more than the step has.
    """
    warm = stages - stage
    if virtual_stages > 1:
        warm = 2 * (stages - stage - 1) + (virtual_stages - 1) * stages + 1
    return min(warm, microbatches * virtual_stages)
