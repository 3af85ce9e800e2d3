"""The interface of what `slipway evaluate` measures on checkpoints, one after the other."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from slipway.models.evaluation import Result
from slipway.runs.alone import World

if TYPE_CHECKING:
    from slipway.engine.engine import Rank

Tell = Callable[[str, int, int], None]
"""A function that takes the progress of a measurement: what is counted, how many are done, of how many."""


class Subject(NamedTuple):
    """A checkpoint's model in this process."""

    step: int
    checkpoint: Path
    rank: "Rank"
    """The model, as the engine runs it."""
    world: World


class Measurement(Protocol):
    """Something that can be measured on one checkpoint or several."""

    @property
    def title(self) -> str:
        """The name for people."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything but the checkpoint that the result depends on, as JSON."""
        ...

    def of(self, subject: Subject, tell: Tell) -> Result:
        """Measure a checkpoint's model and return the result with the settings.

        The caller adds which checkpoint the result belongs to.
        """
        ...
