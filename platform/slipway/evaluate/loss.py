"""Perplexity and bits per byte on files, or on the run's validation split: the loss over held-out samples, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from slipway.config.schema import RunConfig
from slipway.data.held_out import HeldOut, Measured, Wanted
from slipway.errors import Fault
from slipway.evaluate.measurement import Subject, Tell
from slipway.models import held_out
from slipway.models.evaluation import Result


@dataclass(frozen=True)
class Loss:
    """See slipway.evaluate.measurement.Measurement."""

    config: RunConfig
    wanted: Wanted
    parts: Sequence[HeldOut]

    @classmethod
    def read(cls, config: RunConfig, kind: Measured, wanted: Wanted) -> "Loss":
        """Read what is wanted, once for all checkpoints. config: for one process. Raises UserError."""
        return cls(config, wanted, kind.held_out(config, wanted))

    @property
    def title(self) -> str:
        """For people."""
        return held_out.title([one.what for one in self.parts])

    @property
    def settings(self) -> dict[str, Any]:
        """The texts, by checksum, and how they are read."""
        return held_out.settings(self.config, self.wanted, self.parts)

    def of(self, subject: Subject, tell: Tell) -> Result:
        """Run the model over all windows of all parts."""
        from slipway.engine.measuring import summed_loss

        world, losses = subject.world, []
        with subject.rank.evaluating():
            for one in self.parts:

                def batches(done: int, of: int, what: str = one.what) -> None:
                    tell(f"batches of {what}", done, of)

                total = summed_loss(world.plan, subject.rank, world.device, one, tell=batches)
                losses.append(float(total[0]))
        if not all(map(isfinite, losses)):
            raise Fault(
                f"checkpoint {subject.checkpoint}",
                f"its loss on {self.title} is not finite",
                do="choose a checkpoint from before training diverged (--step)",
            )
        return held_out.result(self.config, self.wanted, self.parts, losses, subject.step)
