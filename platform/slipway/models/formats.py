"""Formats of other libraries, in which a family's checkpoints are exported and imported.

A family declares its formats in its module `formats`, as FORMATS: a Format by name. A format is a table: for each
tensor of a checkpoint its name, or names, in the other library, and how the numbers are laid out there. The code that
reads and writes files and checks names and shapes knows no format (slipway.handover). Imports no torch.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.registry import FAMILIES

Shape = tuple[int, ...]
Array = Any
"""A torch tensor or a NumPy array: both have the methods that a table calls (reshape, swapaxes)."""


class Part(NamedTuple):
    """A tensor of a checkpoint, or one layer of it, and the tensors of the other format with the same numbers."""

    key: str
    """The key in the checkpoint. Layers that repeat share a key, with the number of the layer as its first axis."""
    at: tuple[int, ...]
    """The part's index on the key's leading axes: (layer,), or (); all parts of a key have equally many."""
    shape: Shape
    """The part's shape in the checkpoint, without the leading axes."""
    theirs: Mapping[str, Shape]
    """Names and shapes in the other format."""
    split: Callable[[Array], Sequence[Array]]
    """Turns the part into theirs, in the order of the names; it moves numbers and computes none."""
    join: Callable[[Sequence[Array]], Array]
    """The inverse of split."""
    buffer: bool = False
    """Whether it is a buffer, which no optimizer updates: fp32 in every precision, without a second copy."""


class Constant(NamedTuple):
    """A tensor of the other format that a checkpoint does not hold, since it follows from the configuration."""

    shape: Shape
    values: Callable[[], Array]
    """The numbers, fp32, of any shape with as many."""


class Format(Protocol):
    """A format for the checkpoints of one family."""

    @property
    def library(self) -> str:
        """The library that reads it, for people."""
        ...

    def check(self, config: RunConfig) -> None:
        """Raise UserError if the library has no model that computes the same."""
        ...

    def parts(self, config: RunConfig) -> Iterable[Part]:
        """Return all tensors of a checkpoint, in the order in which they are written."""
        ...

    def constants(self, config: RunConfig) -> Mapping[str, Constant]:
        """Return the constants that are written in addition, by their names in the other format."""
        ...

    def renamed(self, name: str) -> str:
        """Return the name in the tables for a tensor's name in a file, which may be an older one of the library."""
        ...

    def sizes(self, shapes: Mapping[str, Shape]) -> Mapping[str, Any]:
        """Return the fields of `model` that follow from the names and shapes in a file, as far as it has them."""
        ...

    def unknown(self, config: RunConfig) -> str:
        """Return the fields of `model` that no file gives, with the values that are assumed, for people."""
        ...

    def usage(self, config: RunConfig, file: str) -> str:
        """Return how to load an exported file in the library: a few lines of its language."""
        ...


class FolderFormat(Protocol):
    """A format whose models are folders: config.json, the weights in safetensors, a tokenizer (Hugging Face)."""

    @property
    def library(self) -> str:
        """The library that reads it, for people."""
        ...

    def of(self, settings: Mapping[str, Any]) -> "FolderFormat":
        """Return the variant of the format for a folder with this config.json: several classes may hold the same model.

        Import uses the variant, export the format itself. Raises UserError for an unknown class.
        """
        ...

    def check(self, config: RunConfig) -> None:
        """Raise UserError if the library has no model that computes the same.

        The error says what the library would need.
        """
        ...

    def parts(self, config: RunConfig) -> Iterable[Part]:
        """Return all tensors of a checkpoint, in the order in which they are written."""
        ...

    def settings(self, config: RunConfig, end_of_document: int | None) -> Mapping[str, Any]:
        """Return config.json of the exported model. end_of_document: the tokenizer's id; None: not known.

        `dtype` is the training precision; an export in another one replaces it, and `torch_dtype`.
        """
        ...

    def fields(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the section `model` that a config.json describes, as plain values: for model=auto, and to compare.

        Raises UserError for an unknown architecture, and for a setting whose model would compute something else;
        ignores none. A size has only one form here: to compare with a configuration, use `fields(settings(config,
        None))`.
        """
        ...

    def held(self, settings: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
        """Return config.json reduced to what a folder with tensors of these names really holds.

        Raises UserError for a class that is not known.
        """
        ...

    def renamed(self, name: str) -> str:
        """Return the name in the tables for a tensor's name in a folder. Only for a format that `of` returned."""
        ...

    def left_out(self, config: RunConfig, name: str) -> str | None:
        """Return the tensor that this one of a folder must equal; "": it is not needed; None: it is needed itself.

        Libraries write tied tables twice, and also tensors that follow from the configuration (masks, rotary
        frequencies).
        """
        ...

    def usage(self, config: RunConfig, folder: str) -> str:
        """Return how to load an exported folder in the library: a few lines of its language."""
        ...


def format_of(config: RunConfig, name: str) -> Format:
    """Return the format of this name of the configured model's family. Raises UserError if it has none."""
    return _named(config.model.family, name)


def folder_format_of(config: RunConfig, name: str) -> FolderFormat:
    """Return the folder format of this name of the configured model's family. Raises UserError if it has none."""
    return _named(config.model.family, name)


def folder_formats(name: str) -> dict[str, FolderFormat]:
    """Return the format of this name of every family that has it, by family."""
    return {family: _formats(family)[name] for family in FAMILIES.names() if name in _formats(family)}


def _formats(family: str) -> Mapping[str, Any]:
    return FAMILIES.part(family, "formats").FORMATS if FAMILIES.has(family, "formats") else {}


def _named(family: str, name: str) -> Any:
    formats = _formats(family)
    if name not in formats:
        others = ", ".join(sorted(formats)) or "no format"
        raise UserError("model.family", f"has no format {name}", do=f"choose from: {others}", value=family)
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
    """Return a part with the same numbers in the same order, perhaps in another shape."""
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
    """Return a part of queries, keys and values.

    Here they alternate head by head (Megatron-core); in the other library all queries come first (timm).
    """
    size = shape[0] // (3 * heads)

    def split(ours: Array) -> Sequence[Array]:
        return [ours.reshape((heads, 3, size, *shape[1:])).swapaxes(0, 1).reshape(shape)]

    def join(theirs: Sequence[Array]) -> Array:
        return theirs[0].reshape((3, heads, size, *shape[1:])).swapaxes(0, 1).reshape(shape)

    return Part(key, at, shape, {name: shape}, split, join)
