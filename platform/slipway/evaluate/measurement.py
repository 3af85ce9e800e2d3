"""What `slipway evaluate` measures of checkpoints, one after the other."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from slipway.models.evaluation import Result
from slipway.runs.alone import World

if TYPE_CHECKING:
    from slipway.engine.engine import Rank

Tell = Callable[[str, int, int], None]
"""Takes how far a measurement is: what is counted, how many are done, of how many."""


class Subject(NamedTuple):
    """A checkpoint's model in this process."""

    step: int
    checkpoint: Path
    rank: "Rank"
    """The model, as the engine runs it."""
    world: World


class Measurement(Protocol):
    """Something to be found out of one checkpoint, or of several."""

    @property
    def title(self) -> str:
        """For people."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that its result depends on besides the checkpoint, as JSON."""
        ...

    def of(self, subject: Subject, tell: Tell) -> Result:
        """Measure a checkpoint's model. The result carries the settings; which checkpoint it is of is added."""
        ...
