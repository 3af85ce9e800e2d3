"""What every family counts in."""

from typing import NamedTuple


class Parameters(NamedTuple):
    """Parameters of the whole model; `active` are those one token meets (all, without experts)."""

    total: int
    active: int


class Shard(NamedTuple):
    """Parameters that one rank holds for some layers.

    `dense` are replicated over data-parallel x context-parallel ranks, `expert` over expert-data-parallel
    ones.
    """

    dense: int
    expert: int

    @property
    def total(self) -> int:
        """Parameters in the rank's memory."""
        return self.dense + self.expert

    def __add__(self, other: "Shard") -> "Shard":  # type: ignore[override]
        return Shard(self.dense + other.dense, self.expert + other.expert)
