"""What a plan says about a run's time and storage, for those who only read it: the one place that knows where."""

from slipway.optimizers import algorithm
from slipway.optimizers.kind import bytes_per_parameter
from slipway.plan.plan import Plan


def step_seconds(plan: Plan) -> float | None:
    """Seconds of a step; None: the cluster's profile does not say enough to tell."""
    return plan.time.seconds_per_step


def assumption(plan: Plan) -> str:
    """What that rests on, in words."""
    return plan.time.assumption


def checkpoint_bytes(plan: Plan) -> int:
    """Bytes of a checkpoint's tensors: parameters in the training precision, and what the optimizer keeps of each.

    In bf16 the optimizer also keeps the parameters in fp32; so does FSDP.
    """
    bf16 = plan.config.training.precision == "bf16"
    sharded = plan.config.parallelism.data_parallel_sharding_strategy is not None
    state = bytes_per_parameter(algorithm(plan.config)) + (4 if bf16 or sharded else 0)
    return plan.parameters * ((2 if bf16 else 4) + state)
