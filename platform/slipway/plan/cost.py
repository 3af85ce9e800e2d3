"""Time and cost of a run on its cluster."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from slipway.config.schema import RunConfig
from slipway.models import family as family_of
from slipway.models.family import Sample
from slipway.models.work import Work
from slipway.plan.layout import Grid
from slipway.plan.memory import Share
from slipway.plan.step.devices import hardware_of
from slipway.plan.step.stages import Job
from slipway.plan.step.step import StepSeconds, step_seconds


class TimeEstimate(BaseModel):
    """Seconds, device-hours and energy, with what they rest on. None if nothing is known of the device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    peak_tflops: float | None
    """Peak of a device, in the precision of the products."""
    step: StepSeconds | None
    """Seconds of a step by part; None if cluster.expected_mfu takes the model's place."""
    seconds_per_step: float | None
    mfu: float | None
    """Share of the peak: the model's FLOP, recomputation not counted, in the step's time."""
    tflops_per_device: float | None
    pipeline_bubble: float
    """Idle time over working time if all stages were alike."""
    recompute_factor: float
    hours: float | None
    device_hours: float | None
    energy_kwh: float | None
    """Energy of the devices alone, each at full load all the time; None: the power is not known."""
    assumption: str


def pipeline_bubble(stages: int, virtual_stages: int, microbatches: int) -> float:
    """Return idle time over working time: (P - 1) / (V m), arXiv 2104.04473, section 2.2."""
    return (stages - 1) / (virtual_stages * microbatches)


def recompute_factor(counted: int, recomputed: int) -> float:
    """Return operations done per operation counted.

    Whole layers again: near 4/3 (arXiv 2104.04473), all but the head. Norms and activations have no matrix product, so
    they count as nothing, here as in the operations counted.
    """
    return 1 + recomputed / counted


def job_of(
    config: RunConfig, share: Share, grid: Grid, microbatches: int, work: Sequence[Work] | None = None
) -> Job:
    """Return the input of the model of a step.

    work: the family's for this layout; None: the family is asked for it.
    """
    work = work or family_of(config).work(config, config.parallelism)
    return Job(config, grid, share.layers, work, share.spans, microbatches)


def estimate(
    config: RunConfig,
    share: Share,
    grid: Grid,
    microbatches: int,
    sample: Sample,
    work: Sequence[Work] | None = None,
) -> TimeEstimate:
    """Return the time of a step and of the run: by cluster.expected_mfu if it is given, else by the model of a step.

    work: as for job_of. Raises UserError for a device that nothing is known of.
    """
    cluster, layout = config.cluster, config.parallelism
    bubble = pipeline_bubble(layout.pipeline_model_parallel_size, layout.virtual_stages, microbatches)
    factor = recompute_factor(sample.flops, sample.recomputed_flops)
    flops = sample.flops * config.training.global_batch_size / grid.world_size
    peak, step, seconds, power = cluster.device.peak_tflops(config.training.precision), None, None, None
    if cluster.expected_mfu is not None:
        assumption = f"a busy device reaches {cluster.expected_mfu:.0%} of its peak (cluster.expected_mfu)"
        if peak is not None:
            seconds = flops * factor * (1 + bubble) / (peak * 1e12 * cluster.expected_mfu)
    elif (hardware := hardware_of(config)) is None:
        assumption = f"nothing is known of the device {cluster.device.name}"
    else:
        peak, power = hardware.peak_tflops, hardware.power_w
        step = step_seconds(job_of(config, share, grid, microbatches, work), hardware)
        seconds = step.total
        assumption = f"constants of {hardware.device} from " + (
            "conf/devices.yaml" if cluster.device.measured is None else str(cluster.device.measured)
        )
    hours = None if seconds is None else seconds * config.training.steps / 3600
    device_hours = None if hours is None else hours * grid.world_size
    rate = None if seconds is None else flops / seconds / 1e12
    return TimeEstimate(
        peak_tflops=peak,
        step=step,
        seconds_per_step=seconds,
        mfu=None if rate is None or peak is None else rate / peak,
        tflops_per_device=rate,
        pipeline_bubble=bubble,
        recompute_factor=factor,
        hours=hours,
        device_hours=device_hours,
        energy_kwh=None if device_hours is None or power is None else device_hours * power / 1000,
        assumption=assumption,
    )
