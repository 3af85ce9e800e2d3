"""First-order time of a run on its cluster."""

from pydantic import BaseModel, ConfigDict

from slipway.config.schema import RunConfig
from slipway.models.family import Sample


class TimeEstimate(BaseModel):
    """Seconds and device-hours, with what they assume. None where the cluster profile states no peak."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    peak_tflops: float | None
    expected_mfu: float
    pipeline_bubble: float
    recompute_factor: float
    seconds_per_step: float | None
    hours: float | None
    device_hours: float | None
    assumption: str


def pipeline_bubble(stages: int, virtual_stages: int, microbatches: int) -> float:
    """Idle time over working time: (P - 1) / (V m), arXiv 2104.04473, section 2.2."""
    return (stages - 1) / (virtual_stages * microbatches)


def recompute_factor(counted: int, recomputed: int) -> float:
    """Operations done per operation counted. Whole layers again: near 4/3 (arXiv 2104.04473), all but the head.

    Norms and activations have no matrix product, so they count as nothing, here as in the operations counted.
    """
    return 1 + recomputed / counted


def estimate(config: RunConfig, world_size: int, microbatches: int, sample: Sample) -> TimeEstimate:
    """Time = operations x recomputation / (devices x peak x expected_mfu) x (1 + bubble)."""
    cluster, layout = config.cluster, config.parallelism
    device = cluster.device
    peak = device.peak_tflops(config.training.precision)
    bubble = pipeline_bubble(layout.pipeline_model_parallel_size, layout.virtual_stages, microbatches)
    factor = recompute_factor(sample.flops, sample.recomputed_flops)
    flops_per_step = sample.flops * config.training.global_batch_size
    seconds = hours = None
    if peak is not None:
        seconds = flops_per_step * factor * (1 + bubble) / (world_size * peak * 1e12 * cluster.expected_mfu)
        hours = seconds * config.training.steps / 3600
    return TimeEstimate(
        peak_tflops=peak,
        expected_mfu=cluster.expected_mfu,
        pipeline_bubble=bubble,
        recompute_factor=factor,
        seconds_per_step=seconds,
        hours=hours,
        device_hours=None if hours is None else hours * world_size,
        assumption=(
            f"a busy device reaches {cluster.expected_mfu:.0%} of its {config.training.precision} peak "
            "(cluster.expected_mfu); the pipeline bubble and recomputation come on top"
        ),
    )
