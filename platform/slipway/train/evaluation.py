"""Measures perplexity on files during training: the weights as they are, on the ranks that train, in their layout.

Rank 0 reads the files once, at the start, and all ranks keep their tokens. A fault in files or results is an event in
metrics.jsonl, and training goes on; a rank that hangs in a forward pass is found as in any other.
"""

from math import isfinite
from typing import Any

import torch

from slipway.data.held_out import HeldOut
from slipway.engine.measuring import summed_loss
from slipway.errors import Fault, UserError
from slipway.files import reason
from slipway.metrics import evaluations
from slipway.metrics.log import Log
from slipway.models import held_out
from slipway.train.setup import Session
from slipway.train.watch.hangs import Watch


class Evaluation:
    """The evaluation that the section `evaluation` asks for."""

    def __init__(self, session: Session, log: Log, step: int) -> None:
        """Read the files; all ranks call it.

        step: the step that the run is at.
        """
        self.session, self.config = session, session.plan.config
        self.wanted = held_out.wanted(self.config)
        self.parts: list[HeldOut] = []
        if not self.config.evaluation.interval:
            return
        told: list[Any] = [self._read() if torch.distributed.get_rank() == 0 else None]
        torch.distributed.broadcast_object_list(told, src=0)
        if isinstance(told[0], str):
            _event(log, step, "evaluation not possible", told[0])
        else:
            self.parts = told[0]

    def due(self, step: int) -> bool:
        """Return whether to evaluate after this step."""
        interval = self.config.evaluation.interval
        return bool(self.parts) and (step % interval == 0 or step == self.config.training.steps)

    def run(self, log: Log, watch: Watch, step: int) -> None:
        """Measure the files' loss and write the result down; all ranks call it."""
        session, plan = self.session, self.session.plan
        replica = plan.grid.coordinates(torch.distributed.get_rank()).dp
        totals = []
        with session.model.evaluating():
            for one in self.parts:

                def tell(done: int, of: int, what: str = one.what) -> None:
                    watch.at(step, f"evaluation of {what}, batch {done + 1} of {of}")

                totals.append(summed_loss(plan, session.model, session.device, one, replica, tell))
        every = torch.stack(totals)
        torch.distributed.all_reduce(every)
        self._note(log, step, every[:, 0].tolist())

    def _read(self) -> list[HeldOut] | str:
        """Return the files' samples, or why there are none."""
        kind = held_out.measured(self.config)
        assert kind is not None  # the plan's rules guarantee it
        try:
            return list(kind.held_out(self.config, self.wanted))
        except (UserError, Fault) as error:
            return str(error)
        except OSError as error:
            return reason(error)

    def _note(self, log: Log, step: int, losses: list[float]) -> None:
        """Write the result down, or an event if it is not finite.

        losses: of each part, over all ranks, in nats.
        """
        if not all(map(isfinite, losses)):
            _event(log, step, "evaluation not finite", f"{held_out.title(self._names)}: {losses}")
            return
        result = held_out.result(self.config, self.wanted, self.parts, losses, step)
        measures = {f"{one.what}/{one.measure}": one.mean for one in result.scores}
        log.write("evaluation", step=step, name=result.name, measures=measures)
        last = result.scores[-1].what
        shown = [
            f"{one.measure.replace('_', ' ')} {one.mean:.4g}" for one in result.scores if one.what == last
        ]
        log.say(f"step {step}  {result.title}: {', '.join(shown)}")
        if torch.distributed.get_rank() == 0:
            try:
                evaluations.write(self.config.run.dir, result)
            except OSError as error:
                _event(log, step, "evaluation not written", reason(error))

    @property
    def _names(self) -> list[str]:
        return [one.what for one in self.parts]


def _event(log: Log, step: int, event: str, why: str) -> None:
    log.write("event", step=step, event=event, reason=why)
    log.say(f"warning: {event}: {why}")
