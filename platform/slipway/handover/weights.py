"""A checkpoint's weights in the names and order of another library, made as they are asked for."""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from slipway.config.schema import RunConfig
from slipway.engine import tensors_of
from slipway.errors import UserError
from slipway.models.formats import Constant, Part, Shape
from slipway.words import size

if TYPE_CHECKING:
    from torch import Tensor, dtype

NOTHING: Mapping[str, Constant] = MappingProxyType({})


class Weights:
    """All tensors of an exported model."""

    def __init__(
        self,
        config: RunConfig,
        parts: list[Part],
        path: Path,
        precision: str,
        command: str,
        constants: Mapping[str, Constant] = NOTHING,
    ) -> None:
        """Compare the checkpoint at `path` with the parts; read no numbers yet.

        constants: written besides the parts. precision: fp32 or bf16. command: for messages. Raises UserError if the
        checkpoint does not hold what the parts are made of, or not in this precision.
        """
        import torch

        self.dtype: dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.reader = tensors_of(config).Reader(path)
        self.parts, self.constants = parts, constants
        check_weights(path, whole_shapes(parts), self.reader.shapes)
        self.keys = {key: key if precision == "bf16" else self.reader.main(key) for key in self.reader.shapes}
        buffers = {part.key for part in parts if part.buffer}
        for own, key in self.keys.items():
            if self.reader.dtype(key) != (torch.float32 if own in buffers else self.dtype):
                raise UserError(
                    f"{command} --precision",
                    f"is not what the checkpoint holds of {own}: {str(self.reader.dtype(key)).partition('.')[2]}",
                    value=precision,
                    use="fp32" if precision == "bf16" else "bf16",
                )
        self.shapes: dict[str, Shape] = {n: s for part in parts for n, s in part.theirs.items()}
        self.shapes |= {name: constant.shape for name, constant in constants.items()}
        self.dtypes = dict.fromkeys(self.shapes, self.dtype)
        self.dtypes |= {name: torch.float32 for part in parts if part.buffer for name in part.theirs}
        """The type of each tensor: buffers are fp32 whatever the others are."""
        self.copies = any(own != key for own, key in self.keys.items())

    def tensors(self) -> Iterator[tuple[str, "Tensor"]]:
        """Yield name and numbers of each tensor, in the order and the shapes of `shapes`."""
        for part in self.parts:
            ours = self.reader.read(self.keys[part.key], part.at)
            for (name, shape), theirs in zip(part.theirs.items(), part.split(ours), strict=True):
                assert tuple(theirs.shape) == shape, (name, theirs.shape)
                yield name, theirs
                del theirs
            del ours
        for name, constant in self.constants.items():
            yield name, constant.values().to(self.dtype).reshape(constant.shape)

    @property
    def nbytes(self) -> dict[str, int]:
        """The size of each tensor in a file, in bytes."""
        return {name: prod(shape) * self.dtypes[name].itemsize for name, shape in self.shapes.items()}

    @property
    def parameters(self) -> int:
        """The number of trained parameters in the model."""
        return sum(prod(shape) for part in self.parts if not part.buffer for shape in part.theirs.values())

    def described(self) -> str:
        """Return how many tensors there are, their size and precision, for people."""
        total = sum(self.nbytes.values())
        which = str(self.dtype).partition(".")[2]
        if self.copies:
            which += ", the copies that training updates"
        elif which == "bfloat16":
            which += ", as the model computes with them; training updates fp32 copies (--precision fp32)"
        return f"{len(self.shapes)} tensors, {size(total)}, {which}"


def whole_shapes(parts: list[Part]) -> dict[str, Shape]:
    """Return the shapes of a checkpoint's tensors that consist of these parts."""
    found: dict[str, Shape] = {}
    for part in parts:
        leading = tuple(n + 1 for n in part.at)
        before = found.get(part.key, leading)[: len(leading)]
        found[part.key] = (*map(max, before, leading), *part.shape)
    return found


def check_weights(path: Path, wanted: dict[str, Shape], found: dict[str, Shape]) -> None:
    """Raise UserError for the first tensor of a checkpoint that is missing, unexpected or has another shape."""
    for key in sorted(wanted.keys() | found.keys()):
        if key not in found:
            raise UserError(path, f"{key} {list(wanted[key])} is missing", do="choose another --step")
        if key not in wanted:
            raise UserError(
                path,
                f"{key} {list(found[key])} has no place in the format",
                do="choose another --step, or another format",
            )
        if wanted[key] != found[key]:
            raise UserError(
                path,
                f"{key} is {list(found[key])}, and {list(wanted[key])} according to plan.json beside it",
                do="put the run's own plan.json back",
            )
