"""NaN, Inf, loss spikes and a load that collapses: what all ranks do, decided from numbers that all of them have.

Pure Python: every rank judges the same reduced loss, gradient norm and load, so all come to the same verdict.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Literal, NamedTuple

from slipway.config.watch import Guard as Settings
from slipway.metrics.events import COLLAPSE, RECOVERY

MAD_TO_DEVIATION = 1.4826  # for a normal distribution: 1 / the normal quantile of 3/4


class Verdict(NamedTuple):
    """The action to take with a batch, and why."""

    action: Literal["update", "stop", "skip", "rollback"]
    reason: str = ""
    warnings: tuple[tuple[str, str], ...] = ()
    """For an update: (event, reason) of each thing that people should know."""


UPDATE = Verdict("update")
NAMED = 8
"""Places that are named one by one."""


@dataclass(frozen=True)
class Bound:
    """Above `limit` a loss is a spike; None: too few recent losses to tell."""

    limit: float | None
    median: float = 0.0
    deviation: float = 0.0


class Guard:
    """Judges each batch before its update.

    losses: the recent finite ones, oldest first. uneven: for each place whose load is uneven now, the number of steps
    in succession. Both are kept in checkpoints so that a continued run judges as the undisturbed one does.
    """

    def __init__(
        self, settings: Settings, losses: Sequence[float] = (), uneven: Mapping[str, int] | None = None
    ) -> None:
        self.settings = settings
        self.losses = deque(losses, maxlen=settings.spike_window)
        self.uneven = dict(uneven or {})
        self.troubles: deque[int] = deque()

    @property
    def goes_back(self) -> bool:
        """Whether a verdict may be rollback."""
        return "rollback" in (self.settings.on_nonfinite, self.settings.on_spike)

    def recall(self, losses: Sequence[float], uneven: Mapping[str, int]) -> None:
        """Restore the recent losses and the uneven places after the run has gone back to a checkpoint."""
        self.losses = deque(losses, maxlen=self.settings.spike_window)
        self.uneven = dict(uneven)

    def judge(
        self, step: int, loss: float, grad_norm: float, evenness: Mapping[str, float] | None = None
    ) -> Verdict:
        """Return the verdict on a step's batch.

        loss: mean over the batch. grad_norm: L2 norm of the whole gradient. evenness: of the load of each place
        (slipway.train.load).
        """
        settings = self.settings
        if not (isfinite(loss) and isfinite(grad_norm)):
            wanted, reason = settings.on_nonfinite, f"loss {loss:g}, gradient norm {grad_norm:g}"
        else:
            bound = self.bound() if settings.on_spike != "ignore" else Bound(None)
            if bound.limit is None or loss <= bound.limit:
                verdict = self._on_load(evenness or {})
                if verdict.action == "update":
                    self.losses.append(loss)
                return verdict
            wanted = settings.on_spike
            reason = (
                f"loss {loss:.4f} is above {bound.limit:.4f} = median {bound.median:.4f} + "
                f"{settings.spike_deviations:g} x deviation {bound.deviation:.4f} of the last {len(self.losses)}"
            )
        if wanted == "stop":
            return Verdict("stop", reason)
        return self._within_limit(step, Verdict(wanted, reason))  # type: ignore[arg-type]

    def bound(self) -> Bound:
        """Return the bound that follows from the recent losses.

        Earlier spikes do not move their median absolute deviation.
        """
        if len(self.losses) < self.settings.spike_window:
            return Bound(None)
        middle = median(self.losses)
        deviation = MAD_TO_DEVIATION * median(abs(loss - middle) for loss in self.losses)
        return Bound(middle + self.settings.spike_deviations * deviation, middle, deviation)

    def _on_load(self, evenness: Mapping[str, float]) -> Verdict:
        """Return the verdict on the load: a place collapses when it was uneven for collapse_steps in succession.

        The collapse is over when the evenness is half-way between collapse_evenness and 1, so that it is not reported
        again and again.
        """
        settings, before = self.settings, self.uneven
        if settings.on_collapse == "ignore":
            return UPDATE
        due, bound = settings.collapse_steps, settings.collapse_evenness
        over = (bound + 1) / 2
        old = {place for place, steps in before.items() if steps >= due}
        low = {place: even for place, even in evenness.items() if even < (over if place in old else bound)}
        self.uneven = {place: before.get(place, 0) + 1 for place in low}
        fallen = [place for place, steps in self.uneven.items() if steps >= due]
        if settings.on_collapse == "warn":
            fallen = [place for place in fallen if place not in old]
        warnings = []
        if fallen:
            lowest = min(low[place] for place in fallen)
            reason = (
                f"the load of {_places(fallen)} has collapsed: evenness {lowest:.3f}, for {due} steps below "
                f"guard.collapse_evenness {bound:g}"
            )
            if settings.on_collapse == "stop":
                return Verdict("stop", reason)
            warnings.append((COLLAPSE, reason))
        if risen := [place for place in before if place in old and place not in low]:
            lowest = min(evenness[place] for place in risen)
            warnings.append((RECOVERY, f"the load of {_places(risen)} is even again: evenness {lowest:.3f}"))
        return Verdict("update", warnings=tuple(warnings)) if warnings else UPDATE

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


def _places(names: Sequence[str]) -> str:
    """Return names of places as text: `layer 3, layer 4 and 12 more`."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
