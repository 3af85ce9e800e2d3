"""Seconds of a step, by part, from the work of its layers and the constants of its hardware. Pure functions."""

from pydantic import BaseModel, ConfigDict

from slipway.plan.step import groups, pipeline, replicas
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.stages import Job, clocks, parts, stages


class StepSeconds(BaseModel):
    """Seconds of a step that are not hidden behind other work, on the stage that the others wait for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    products: float
    """Matrix products, attention's and experts' included."""
    memory_bound: float
    """Norms, activations, embedding, loss."""
    recompute: float
    """Recomputation in the backward pass, exchanges included."""
    bubble: float
    tensor_parallel: float
    context_parallel: float
    expert_parallel: float
    pipeline_parallel: float
    data_parallel: float
    optimizer: float
    host: float
    """Launching kernels, and what the host does between steps."""

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of each part, by name."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def step_seconds(job: Job, hardware: Hardware) -> StepSeconds:
    """Return the seconds of a step by part: those of the busiest stage's microbatches, and those that come once."""
    grid, m = job.grid, job.microbatches
    times = clocks(job, groups.rings(grid, hardware.inside_devices), hardware)
    here, sends = stages(job, times), pipeline.sends(job, hardware)
    waits = replicas.each_microbatch(job, times, hardware)
    waited = sum(waits)  # FSDP has one stage
    whole = [stage.forward + stage.behind + sends.waited + waited for stage in here]
    busiest, bubble = pipeline.busiest_and_bubble(whole, job.config.parallelism.virtual_stages)
    passes, again = parts(job, times, busiest)
    return StepSeconds(
        products=m * passes.products,
        memory_bound=m * passes.memory_bound,
        recompute=m * again.total,
        bubble=bubble + sends.filling,
        tensor_parallel=m * passes.tensor,
        context_parallel=m * passes.context,
        expert_parallel=m * passes.expert,
        pipeline_parallel=m * sends.waited,
        data_parallel=m * waited + replicas.once_a_step(job, here, hardware),
        optimizer=replicas.optimizer(job, here, hardware),
        host=m * passes.host + hardware.rates.step_ms * 1e-3,
    )
