"""Values that a configuration leaves open (null) and that follow from its other sections."""

from typing import Any

from slipway.config.automatic import neutralize

GLOBAL_BATCH_SIZE = 16
_MODEL_PARALLEL = ("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size")


def fill(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with its open values filled in; pydantic reports what is not a configuration."""
    plain = neutralize(plain)
    resources, training = _section(plain, "resources"), _section(plain, "training")
    filled = {}
    if resources.get("devices_per_node", 0) is None:
        resources = filled["resources"] = resources | {"devices_per_node": _devices(plain)}
    if training.get("global_batch_size", 0) is None:
        filled["training"] = training | {"global_batch_size": _batch(plain, resources, training)}
    return plain | filled


def _devices(plain: dict[str, Any]) -> Any:
    """Return the number of devices that a node of the cluster has, else 1."""
    return _section(plain, "cluster").get("devices_per_node") or 1


def _batch(plain: dict[str, Any], resources: dict[str, Any], training: dict[str, Any]) -> int:
    """Return the global batch: 16 samples, or one microbatch for each replica of the model if that is more."""
    layout = _section(plain, "parallelism")
    numbers = [
        resources.get("nodes", 1),
        resources.get("devices_per_node", 1),
        training.get("micro_batch_size"),
    ]
    shared = [layout.get(name, 1) for name in _MODEL_PARALLEL]
    if not all(isinstance(number, int) and number > 0 for number in numbers + shared):
        return GLOBAL_BATCH_SIZE
    nodes, devices, micro_batch_size = numbers
    replicas = nodes * devices // (shared[0] * shared[1] * shared[2])
    return max(GLOBAL_BATCH_SIZE, micro_batch_size * replicas)


def _section(plain: dict[str, Any], name: str) -> dict[str, Any]:
    section = plain.get(name)
    return section if isinstance(section, dict) else {}
