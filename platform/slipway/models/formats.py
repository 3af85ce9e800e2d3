"""Formats of other libraries: what a family's checkpoints are handed over in, and taken from.

A family declares its formats in its module `formats`, as FORMATS: a Format by name. A format is a table: for each
tensor of a checkpoint its name, or names, in the other library, and how the numbers are laid out there. What reads and
writes files, and checks names and shapes, knows no format (slipway.handover). Imports no torch.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.registry import FAMILIES

Shape = tuple[int, ...]
Array = Any
"""A torch tensor or a NumPy array: what a table does with them (reshape, swapaxes) both have."""


class Part(NamedTuple):
    """A tensor of a checkpoint, or one layer of it, and the tensors of the other format with the same numbers."""

    key: str
    """Of the checkpoint. Layers that repeat share a key, with the number of the layer as its first axis."""
    at: tuple[int, ...]
    """Where the part is on the key's leading axes: (layer,), or (); all parts of a key have as many."""
    shape: Shape
    """Of the part in the checkpoint, without the leading axes."""
    theirs: Mapping[str, Shape]
    """Names and shapes in the other format."""
    split: Callable[[Array], Sequence[Array]]
    """From the part to theirs, in the order of the names; moves numbers and computes none."""
    join: Callable[[Sequence[Array]], Array]
    """The inverse of split."""
    buffer: bool = False
    """Whether no optimizer updates it: it is fp32 in every precision, and has no second copy."""


class Constant(NamedTuple):
    """A tensor of the other format that a checkpoint does not hold, since it follows from the configuration."""

    shape: Shape
    values: Callable[[], Array]
    """The numbers, fp32, of any shape with as many."""


class Format(Protocol):
    """A format for the checkpoints of one family."""

    @property
    def library(self) -> str:
        """Who reads it, for people."""
        ...

    def check(self, config: RunConfig) -> None:
        """Raise UserError where the library has no model that computes the same."""
        ...

    def parts(self, config: RunConfig) -> Iterable[Part]:
        """Return all tensors of a checkpoint, in the order in which they are written."""
        ...

    def constants(self, config: RunConfig) -> Mapping[str, Constant]:
        """Return what is written besides, by the other format's name."""
        ...

    def renamed(self, name: str) -> str:
        """Return what the tables call a tensor that a file has under this name: older names of the library's."""
        ...

    def sizes(self, shapes: Mapping[str, Shape]) -> Mapping[str, Any]:
        """Return fields of `model` that follow from the names and shapes of a file, as far as they are there."""
        ...

    def unknown(self, config: RunConfig) -> str:
        """Which fields of `model` no file says, with the values that are taken, for people."""
        ...

    def usage(self, config: RunConfig, file: str) -> str:
        """Return how the library loads an exported file: a few lines of its language."""
        ...


class FolderFormat(Protocol):
    """A format whose models are folders: config.json, the weights in safetensors, a tokenizer (Hugging Face)."""

    @property
    def library(self) -> str:
        """Who reads it, for people."""
        ...

    def of(self, settings: Mapping[str, Any]) -> "FolderFormat":
        """Return the format as a folder with this config.json has it: several classes may hold the same model.

        What is read goes through it, what is written through the format itself. Raises UserError for a class that is
        not known.
        """
        ...

    def check(self, config: RunConfig) -> None:
        """Raise UserError where the library has no model that computes the same, with what it would have."""
        ...

    def parts(self, config: RunConfig) -> Iterable[Part]:
        """Return all tensors of a checkpoint, in the order in which they are written."""
        ...

    def settings(self, config: RunConfig, end_of_document: int | None) -> Mapping[str, Any]:
        """Return config.json of the exported model. end_of_document: the tokenizer's id; None: not known.

        `dtype` is the training precision's; what is exported in another one replaces it, and `torch_dtype`.
        """
        ...

    def fields(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the section `model`, as plain values, that a config.json says: for model=auto, and to compare.

        Raises UserError for an architecture that is not known, and for a setting whose model would compute
        something else; never passes one over. Sizes are said in one form alone: of a configuration, the fields to
        compare with are `fields(settings(config, None))`.
        """
        ...

    def held(self, settings: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
        """Return config.json as far as the folder holds it, whose tensors have these names.

        Raises UserError for a class that is not known.
        """
        ...

    def renamed(self, name: str) -> str:
        """Return what the tables call a tensor that a folder has under this name. Of a format that `of` has returned."""
        ...

    def left_out(self, config: RunConfig, name: str) -> str | None:
        """Return the name of the tensor that this one of a folder must equal; "" where it is not needed; None: it is needed.

        Libraries write tied tables twice, and what follows from the configuration (masks, rotary frequencies).
        """
        ...

    def usage(self, config: RunConfig, folder: str) -> str:
        """Return how the library loads an exported folder: a few lines of its language."""
        ...


def format_of(config: RunConfig, name: str) -> Format:
    """Return the format of this name of the configured model's family. Raises UserError where it has none."""
    return _named(config.model.family, name)


def folder_format_of(config: RunConfig, name: str) -> FolderFormat:
    """Return the same, where models are folders."""
    return _named(config.model.family, name)


def folder_formats(name: str) -> dict[str, FolderFormat]:
    """Return the format of this name of each family that has it."""
    return {family: _formats(family)[name] for family in FAMILIES.names() if name in _formats(family)}


def _formats(family: str) -> Mapping[str, Any]:
    return FAMILIES.part(family, "formats").FORMATS if FAMILIES.has(family, "formats") else {}


def _named(family: str, name: str) -> Any:
    formats = _formats(family)
    if name not in formats:
        others = ", ".join(sorted(formats)) or "no format"
        raise UserError("model.family", f"has no format {name}; it has {others}", value=family)
    return formats[name]


# --- how one tensor of a checkpoint is laid out in other libraries


def same(
    key: str,
    at: tuple[int, ...],
    shape: Shape,
    name: str,
    theirs: Shape | None = None,
    *,
    buffer: bool = False,
) -> Part:
    """Return the same numbers in the same order, perhaps in another shape."""
    theirs = shape if theirs is None else theirs
    assert prod(shape) == prod(theirs), (name, shape, theirs)
    return Part(
        key,
        at,
        shape,
        {name: theirs},
        lambda t: [t.reshape(theirs)],
        lambda t: t[0].reshape(shape),
        buffer,
    )


def by_kind(key: str, at: tuple[int, ...], shape: Shape, name: str, heads: int) -> Part:
    """Return queries, keys and values of all heads: head by head here (Megatron-core), first all queries there (timm)."""
    size = shape[0] // (3 * heads)

    def split(ours: Array) -> Sequence[Array]:
        return [ours.reshape((heads, 3, size, *shape[1:])).swapaxes(0, 1).reshape(shape)]

    def join(theirs: Sequence[Array]) -> Array:
        return theirs[0].reshape((3, heads, size, *shape[1:])).swapaxes(0, 1).reshape(shape)

    return Part(key, at, shape, {name: shape}, split, join)
