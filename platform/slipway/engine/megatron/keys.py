"""The names of tensors in a checkpoint: a parameter's own name, and those of its optimizer state."""

FP32 = "fp32_parameter"
"""The name of the fp32 copy that training updates, for a parameter of lower precision."""


def of_state(name: str, parameter: str) -> str:
    """Return the key of one tensor of a parameter's state: one of the optimizer's states, or FP32."""
    return f"optimizer.{name}.{parameter}"


def is_weight(key: str) -> bool:
    """Return whether a tensor belongs to the model, not to the state of an optimizer or of a generator."""
    return not key.startswith(("optimizer.", "rng."))
