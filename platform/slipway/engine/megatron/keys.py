"""What tensors are called in a checkpoint: a parameter by its own name, its optimizer's state after it."""

FP32 = "fp32_parameter"
"""The copy that training updates, of a parameter of lower precision."""


def of_state(name: str, parameter: str) -> str:
    """Return the key of one tensor of a parameter's state: of the optimizer's states, or FP32."""
    return f"optimizer.{name}.{parameter}"


def is_weight(key: str) -> bool:
    """Return whether a tensor is the model's own: no state of an optimizer or of a generator."""
    return not key.startswith(("optimizer.", "rng."))
