"""Describes how a continuation changed its checkpoint's layout."""

from slipway.config.schema import Parallelism
from slipway.plan.elastic import SWITCHES
from slipway.plan.plan import Plan
from slipway.words import counted


def describe_change(before_world_size: int, before: Parallelism, plan: Plan) -> str | None:
    """Return in one line how a continuation changed its checkpoint's layout; None if it did not.

    before_world_size, before: as the checkpoint records them. A checkpoint does not record its micro-batch size.
    """
    now, batch = plan.config.parallelism, plan.config.training.global_batch_size
    changed: list[str] = []
    kept: list[str] = []
    if before_world_size != plan.world_size:
        changed.append(f"{before_world_size} -> {plan.world_size} devices")
    else:
        kept.append(f"{plan.world_size} devices")
    replicas = before_world_size // (
        before.tensor_model_parallel_size * before.pipeline_model_parallel_size * before.context_parallel_size
    )
    for name, a, b in (
        ("data-parallel size", replicas, plan.data_parallel_size),
        ("tensor", before.tensor_model_parallel_size, now.tensor_model_parallel_size),
        ("pipeline", before.pipeline_model_parallel_size, now.pipeline_model_parallel_size),
        ("virtual pipeline", before.virtual_stages, now.virtual_stages),
        ("context", before.context_parallel_size, now.context_parallel_size),
        ("expert", before.expert_model_parallel_size, now.expert_model_parallel_size),
    ):
        if a != b:
            changed.append(f"{name} {a} -> {b}")
        elif a > 1:
            kept.append(f"{name} {a}")
    for switch in (*SWITCHES, "pipeline_layout"):
        a, b = getattr(before, switch), getattr(now, switch)
        if a != b:
            changed.append(f"{switch} {_word(a)} -> {_word(b)}")
    if not changed:  # null and 1 virtual stages are the same
        return None
    parts = [", ".join(changed), f"{', '.join(kept)} as before"] if kept else [", ".join(changed)]
    parts.append(
        f"global batch {batch} = {counted(plan.data_parallel_size, 'replica')} x "
        f"{counted(plan.num_microbatches, 'microbatch')} x "
        f"{plan.config.training.micro_batch_size}"
    )
    return "layout: " + "; ".join(parts)


def _word(value: bool | str | list[int] | None) -> str:
    return "null" if value is None else str(value).lower()
