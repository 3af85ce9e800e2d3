"""What the tests of checks look at: a run, and a tree of files in place of a machine's."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.doctor.here import Here
from slipway.ranks.environment import Place


def looking(
    root: Path = Path("/"),
    *overrides: str,
    environment: Mapping[str, str] | None = None,
    ranks: int = 4,
    per_node: int = 1,
    rank: int = 0,
    master: str = "localhost",
    job: bool = True,
    **more,
) -> Here:
    """A rank of a job, or (job: False) a login node."""
    place = Place(rank, rank % per_node, ranks, master, 29500, local_world_size=per_node) if job else None
    return Here(_composed(overrides), environment or {}, "n1", place, root, **more)


@lru_cache
def _composed(overrides: tuple[str, ...]) -> RunConfig:
    return compose(list(overrides))


def plant(path: Path, text: str = "") -> None:
    """A file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
