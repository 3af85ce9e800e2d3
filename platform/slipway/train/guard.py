"""NaN, Inf and loss spikes: what all ranks do about a batch, decided from numbers that all of them have.

Pure Python: every rank judges the same reduced loss and gradient norm, so all come to the same verdict.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Literal, NamedTuple

from slipway.config.watch import Guard as Settings

MAD_TO_DEVIATION = 1.4826  # of a normal distribution: 1 / the normal quantile of 3/4


class Verdict(NamedTuple):
    """What to do with a batch, and why."""

    action: Literal["update", "stop", "skip", "rollback"]
    reason: str = ""


UPDATE = Verdict("update")


@dataclass(frozen=True)
class Bound:
    """Above `limit` a loss is a spike; None: too few recent losses to tell."""

    limit: float | None
    median: float = 0.0
    deviation: float = 0.0


class Guard:
    """Judges each batch before its update.

    losses: the recent finite ones, oldest first; they are kept in checkpoints so that a continued run judges as
    the undisturbed one does.
    """

    def __init__(self, settings: Settings, losses: Sequence[float] = ()) -> None:
        self.settings = settings
        self.losses = deque(losses, maxlen=settings.spike_window)
        self.troubles: deque[int] = deque()

    @property
    def goes_back(self) -> bool:
        """Whether a verdict may be rollback."""
        return "rollback" in (self.settings.on_nonfinite, self.settings.on_spike)

    def recall(self, losses: Sequence[float]) -> None:
        """The run has gone back: these are the recent losses again."""
        self.losses = deque(losses, maxlen=self.settings.spike_window)

    def judge(self, step: int, loss: float, grad_norm: float) -> Verdict:
        """The verdict on a step's batch (loss: mean over it; grad_norm: L2 norm of the whole gradient)."""
        settings = self.settings
        if not (isfinite(loss) and isfinite(grad_norm)):
            wanted, reason = settings.on_nonfinite, f"loss {loss:g}, gradient norm {grad_norm:g}"
        else:
            bound = self.bound() if settings.on_spike != "ignore" else Bound(None)
            if bound.limit is None or loss <= bound.limit:
                self.losses.append(loss)
                return UPDATE
            wanted = settings.on_spike
            reason = (
                f"loss {loss:.4f} is above {bound.limit:.4f} = median {bound.median:.4f} + "
                f"{settings.spike_deviations:g} x deviation {bound.deviation:.4f} of the last {len(self.losses)}"
            )
        if wanted == "stop":
            return Verdict("stop", reason)
        return self._within_limit(step, Verdict(wanted, reason))  # type: ignore[arg-type]

    def bound(self) -> Bound:
        """Of the recent losses; their median absolute deviation is not moved by earlier spikes."""
        if len(self.losses) < self.settings.spike_window:
            return Bound(None)
        middle = median(self.losses)
        deviation = MAD_TO_DEVIATION * median(abs(loss - middle) for loss in self.losses)
        return Bound(middle + self.settings.spike_deviations * deviation, middle, deviation)

    def _within_limit(self, step: int, verdict: Verdict) -> Verdict:
        settings = self.settings
        while self.troubles and self.troubles[0] <= step - settings.spike_window:
            self.troubles.popleft()
        if len(self.troubles) >= settings.limit:
            return Verdict(
                "stop",
                f"{verdict.reason}; guard.limit: {settings.limit} batches were left out within "
                f"{settings.spike_window} steps before it",
            )
        self.troubles.append(step)
        return verdict
