"""What the plan says about the time of a run, for those who only read it: the one place that knows where it stands."""

from slipway.plan.plan import Plan


def step_seconds(plan: Plan) -> float | None:
    """Seconds of a step; None: the cluster's profile does not say enough to tell."""
    return plan.time.seconds_per_step


def assumption(plan: Plan) -> str:
    """What that rests on, in words."""
    return plan.time.assumption
