"""The state of one launched job, in the same terms for every scheduler."""

from dataclasses import dataclass
from typing import Any, Literal

Word = Literal[
    "pending", "requeued", "running", "stopped", "finished", "failed", "cancelled", "ended", "unknown"
]
ALIVE: tuple[Word, ...] = ("pending", "requeued", "running")


@dataclass(frozen=True)
class JobState:
    """The state that a scheduler reports for a job. Times are Unix seconds.

    requeued: it ran and waits to run again; stopped: exit code 75, a later job continues; ended: the scheduler has
    forgotten it; unknown: the scheduler did not answer.
    """

    word: Word
    detail: str = ""
    """The reason why it waits or ended, in the scheduler's words."""
    start: float | None = None
    """The time at which it started; pending: at which it is expected to start."""
    end: float | None = None
    """The time at which it ended; running: at which its wall time ends."""
    nodes: str = ""
    """The scheduler's name for its nodes."""
    restarts: int = 0
    """The number of times that it was requeued or restarted."""

    @property
    def alive(self) -> bool:
        """Whether the job can be cancelled."""
        return self.word in ALIVE

    def as_json(self) -> dict[str, Any]:
        """Return the state as JSON, for programs."""
        return {
            "state": self.word,
            "detail": self.detail or None,
            "start": self.start,
            "end": self.end,
            "nodes": self.nodes or None,
            "restarts": self.restarts,
        }
