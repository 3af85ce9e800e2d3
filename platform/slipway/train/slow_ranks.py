"""Writes the ranks that compute more slowly than their peers into the log."""

import torch

from slipway.metrics.log import Log
from slipway.train.setup import Session
from slipway.train.watch.hangs import Watch
from slipway.train.watch.stragglers import stragglers


def report_stragglers(session: Session, watch: Watch, log: Log, step: int) -> None:
    """Compare the ranks' own times since the last report, and log the slow ones; all ranks call it."""
    settings, grid = session.plan.config.watch, session.plan.grid
    watch.at(step, "comparing times")
    own = torch.tensor([session.times.take()], device=session.device)
    everyone = torch.empty(grid.world_size, dtype=own.dtype, device=own.device)
    torch.distributed.all_gather_into_tensor(everyone, own)
    seconds = everyone.tolist()
    log.write("ranks", step=step, forward_seconds=[round(value, 6) for value in seconds])
    for slow in stragglers(
        seconds, [grid.coordinates(rank).pp for rank in range(grid.world_size)], settings.straggler_ratio
    ):
        host = watch.peers[slow.rank].node
        reason = (
            f"a forward pass takes {slow.seconds:.4f} s, its peers' {slow.peers:.4f} s "
            f"({slow.seconds / slow.peers:.1f} x)"
        )
        log.write("event", step=step, event="straggler", rank=slow.rank, host=host, reason=reason)
        log.say(f"step {step}  slow: rank {slow.rank} on {host}: {reason}")
