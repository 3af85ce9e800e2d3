"""Names, shapes and numbers of imported tensors, checked against what follows from the configuration."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import UserError
from slipway.models.formats import Part, Shape

if TYPE_CHECKING:
    from torch import Tensor, dtype

_AT_ONCE = 2**17  # numbers that are looked at together


def check_names(where: Path, wanted: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    """Raise UserError for the first tensor that is missing, belongs nowhere or has another shape."""
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    for problem, names in (("are missing", missing), ("belong to no part of the model", unexpected)):
        if names:
            several = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                where, f"{names[0]}{several}: {problem}", do="choose the model that these weights belong to"
            )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise UserError(
                where,
                f"{name} is {list(found[name])}; {list(shape)} follows from `model`",
                do="choose the model that these weights belong to",
            )


def renamed(where: Path, of: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
    """Return each tensor's name in the files by its name in the format.

    of: turns the first into the second. Raises UserError if two tensors have the same name in the format.
    """
    found: dict[str, str] = {}
    for there in names:
        name = of(there)
        if name in found:
            raise UserError(
                where, f"holds {name} twice, as {found[name]} and {there}", do="remove one of them"
            )
        found[name] = there
    return found


def wanted_of(parts: list[Part]) -> dict[str, Shape]:
    """Return the names and shapes of the other library's tensors that the parts are made of."""
    return {name: shape for part in parts for name, shape in part.theirs.items()}


def check_numbers(where: Path, name: str, tensor: "Tensor") -> None:
    """Raise UserError if a tensor (any shape) does not fit into fp32, or holds numbers that are not finite."""
    import torch

    if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise UserError(
            where,
            f"{name} is {str(tensor.dtype).partition('.')[2]}",
            use="float32, or bfloat16 or float16, which fit into it",
        )
    if not all(bool(some.isfinite().all()) for some in in_pieces(tensor)):
        raise UserError(
            where, f"{name} holds numbers that are not finite", do="use weights from before training diverged"
        )


def is_rounded(tensor: "Tensor", dtype: "dtype") -> bool:
    """Return whether a type cannot hold all numbers of a contiguous tensor (any shape) exactly."""
    return not all(bool((some.to(dtype) == some).all()) for some in in_pieces(tensor))


def in_pieces(tensor: "Tensor") -> Iterator["Tensor"]:
    """Yield the numbers of a contiguous tensor in pieces of shape [n], so that what is made of them stays small."""
    flat = tensor.reshape(-1)
    for start in range(0, flat.numel(), _AT_ONCE):
        yield flat[start : start + _AT_ONCE]
