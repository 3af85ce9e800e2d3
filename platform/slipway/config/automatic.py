"""Fields that may be `auto`: the planner chooses them (slipway.plan.search). Until then they have a neutral value."""

from typing import Any

AUTO = "auto"
NEUTRAL: dict[str, Any] = {
    "parallelism.tensor_model_parallel_size": 1,
    "parallelism.pipeline_model_parallel_size": 1,
    "parallelism.virtual_pipeline_model_parallel_size": None,
    "parallelism.context_parallel_size": 1,
    "parallelism.expert_model_parallel_size": 1,
    "parallelism.sequence_parallel": False,
    "parallelism.use_distributed_optimizer": False,
    "parallelism.data_parallel_sharding_strategy": None,
    "parallelism.overlap_grad_reduce": False,
    "parallelism.overlap_param_gather": False,
    "training.micro_batch_size": 1,
    "training.recompute": "none",
}
"""The value of each dotted field until it is chosen: one device, nothing recomputed."""


def neutralize(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with neutral values in place of `auto`, and those fields listed in `auto`."""
    sections: dict[str, dict[str, Any]] = {}
    found = []
    for field, neutral in NEUTRAL.items():
        section, _, name = field.partition(".")
        values = plain.get(section)
        if isinstance(values, dict) and values.get(name) == AUTO:
            sections.setdefault(section, dict(values))[name] = neutral
            found.append(field)
    return plain | sections | {"auto": found} if found else plain


def known(field: str) -> str:
    """Return the name of a field that may be `auto`. Raises ValueError if it may not."""
    if field not in NEUTRAL:
        raise ValueError(f"is not a field that may be {AUTO}: {', '.join(NEUTRAL)}")
    return field
