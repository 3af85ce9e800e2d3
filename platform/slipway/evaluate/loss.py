"""Perplexity and bits per byte, computed from the loss over held-out samples.

The samples come from files, or from the run's validation split.
"""

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
    """A Measurement of the loss on held-out text."""

    config: RunConfig
    wanted: Wanted
    parts: Sequence[HeldOut]

    @classmethod
    def read(cls, config: RunConfig, kind: Measured, wanted: Wanted) -> "Loss":
        """Read the held-out text once for all checkpoints, and return its measurement; `config` is for one process.

        Raises UserError if the text cannot be read or has no sample.
        """
        return cls(config, wanted, kind.held_out(config, wanted))

    @property
    def title(self) -> str:
        """The name for people."""
        return held_out.title([one.what for one in self.parts])

    @property
    def settings(self) -> dict[str, Any]:
        """The checksums of the texts, and how they are cut into samples."""
        return held_out.settings(self.config, self.wanted, self.parts)

    def of(self, subject: Subject, tell: Tell) -> Result:
        """Run the model over all windows of all parts and return the result. Raises Fault if a loss is not finite."""
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
