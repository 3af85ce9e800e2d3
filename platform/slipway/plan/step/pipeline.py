"""What the pipeline's schedule adds to its stages' times: waiting for the busiest one, and sending."""

from collections.abc import Sequence
from typing import NamedTuple

from slipway.plan.step import groups
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.stages import Job


class Sends(NamedTuple):
    """Seconds that stages wait for their outputs to be sent."""

    waited: float
    """Seconds for each microbatch."""
    filling: float
    """Seconds once a step, while the pipeline fills and drains."""


def sends(job: Job, hardware: Hardware) -> Sends:
    """Return the seconds that stages wait for two exchanges for each microbatch and chunk.

    Only if stages interleave can they pass beside work.
    """
    grid, layout = job.grid, job.config.parallelism
    if grid.pp == 1:
        return Sends(0.0, 0.0)
    size = float(max(job.layers[span[-1]].sent_bytes for span in job.spans[:-1]))
    pair = groups.ring(2, grid.tp * grid.cp * grid.dp, hardware.inside_devices)
    parts = grid.tp if job.scattered_sends else 1
    one = groups.seconds("send", size / parts, pair, hardware)
    if parts > 1:
        one += groups.seconds("all_gather", size, groups.ring(grid.tp, 1, hardware.inside_devices), hardware)
    if layout.virtual_stages > 1 and layout.overlap_p2p_comm is not False:
        return Sends(0.0, 2 * (grid.pp - 1) * one)
    return Sends(2 * one * layout.virtual_stages, 0.0)


def busiest_and_bubble(stages: Sequence[float], virtual_stages: int) -> tuple[int, float]:
    """Return the stage that all others wait for, and the seconds that it waits for them.

    stages: seconds of one microbatch. 1F1B: before its first and after its last microbatch the busiest stage waits
    while each of the others has one, or with virtual stages one chunk of it: (P - 1) / (V m) of the work for equal
    stages (arXiv 2104.04473, 2.2).
    """
    busiest = max(range(len(stages)), key=lambda stage: stages[stage])
    return busiest, (sum(stages) - stages[busiest]) / virtual_stages
