"""Counts the bytes that a microbatch's operators without a product read and write, as torch calls them on a CPU.

No formula of the plan's: every operator that torch dispatches is noted with the sizes of its tensors. What comes once a
step is excluded: the difference between a step of two microbatches and one of a single microbatch is returned.

One process is the one rank. Reads a JSON object {name: overrides} from standard input, and writes {name: {"bytes": ...,
"kernels": ...}, or the error} to the file named on the command line. Operators with a product (of matrices, attention)
count as kernels only.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flops_of_step

PRODUCTS = ("mm", "attention", "einsum")
NOTHING = ("empty", "view", "detach", "alias", "lift")
"""Operators that move nothing: memory is reserved or looked at in another way."""
ROWS = ("gather", "embedding", "index_select", "take")
"""Operators that read of their first tensor only what they return."""


class Moved(NamedTuple):
    """The bytes that operators without a product move, and all calls of kernels."""

    bytes: int = 0
    kernels: int = 0


def count(overrides: list[str]) -> dict[str, int]:
    """Count what a microbatch of one sample adds to a step."""
    words = [*overrides, "training.micro_batch_size=1"]
    one, two = (_step([*words, f"training.global_batch_size={samples}"]) for samples in (1, 2))
    return {"bytes": two.bytes - one.bytes, "kernels": two.kernels - one.kernels}


def _step(overrides: list[str]) -> Moved:
    """Count one step, forward and backward, with what comes once a step."""
    found = Moved()

    def watching() -> Sequence[Any]:
        from torch.utils._python_dispatch import TorchDispatchMode

        class Count(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                nonlocal found
                result = func(*args, **(kwargs or {}))
                if not func.is_view and func.namespace == "aten":
                    moved, calls = _moved(func.__name__, args, kwargs, result)
                    found = Moved(found.bytes + moved, found.kernels + calls)
                return result

        return (Count(),)

    flops_of_step.compute(overrides, watching)
    return found


def _moved(name: str, args: Any, kwargs: Any, result: Any) -> Moved:
    """Return what one call moves."""
    if any(part in name for part in NOTHING):
        return Moved()
    given, made = list(_tensors((args, kwargs))), list(_tensors(result))
    if any(part in name for part in PRODUCTS):
        return Moved(0, 1)
    if name.startswith("copy_") and _same(given[0], given[1]):
        return Moved()
    wrote = sum(tensor.nbytes for tensor in made)
    if "fill" in name or "zero" in name or not given:
        return Moved(wrote, 1)
    if "embedding_dense_backward" in name:
        return Moved(wrote + 2 * given[0].nbytes, 1)
    if name.startswith(ROWS):
        return Moved(2 * wrote, 1)
    if name.startswith(("scatter", "index_put", "index_add")):
        return Moved(3 * given[-1].nbytes, 1)
    read = given[1:] if name.startswith("copy_") else given
    return Moved(wrote + sum({id(tensor): tensor.nbytes for tensor in read}.values()), 1)


def _tensors(values: Any) -> Iterator[Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    return (value for value in tree_leaves(values) if isinstance(value, torch.Tensor))


def _same(one: Any, other: Any) -> bool:
    """Return whether both are one tensor in memory."""
    return one.data_ptr() == other.data_ptr() and one.dtype == other.dtype


if __name__ == "__main__":
    flops_of_step.main(count)
