"""What a field of the configuration takes, in words: its type, its bounds, its unit, its default."""

import datetime
import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

WORDS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    datetime.date: "date",
    type(None): "null",
}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
UNITS = {  # what a name is, or ends with after an underscore
    "gb_per_s": "GB/s",
    "per_kwh": "per kWh",
    "per_device_hour": "per device-hour",
    "minutes": "minutes",
    "seconds": "seconds",
    "hours": "hours",
    "days": "days",
    "gib": "GiB",
    "watts": "W",
    "steps": "steps",
    "interval": "steps",
    "samples": "samples",
    "sequence_length": "tokens",
    "chip_size": "pixels",
    "crop_size": "pixels",
    "shard_size": "bytes",
    "resolution": "metres",
    "fraction": "share",
    "dropout": "share",
    "ratio": "ratio",
}
UNITS_WITHIN = {"tflops": "TFLOP/s"}


def kind(annotation: Any, metadata: typing.Iterable[Any] = ()) -> str:
    """The type in words, with its bounds: `whole number above 0, or null`."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind(inside[0], [*inside[1:], *metadata])
    if origin in (typing.Union, types.UnionType):
        words = [kind(one, metadata if one is not type(None) else ()) for one in inside]
        return ", or ".join(dict.fromkeys(words))
    if origin is typing.Literal:
        return ", ".join(f"`{shown(one)}`" for one in inside)
    return _container(annotation, origin, inside) + _bounds(metadata)


def _container(annotation: Any, origin: Any, inside: tuple[Any, ...]) -> str:
    if origin is tuple and inside[-1:] != (Ellipsis,):
        return f"list of {len(inside)}: {kind(inside[0])}"
    if origin in (list, tuple):
        return f"list of: {kind(inside[0])}"
    if isinstance(origin, type) and issubclass(origin, typing.Mapping):
        return f"section of NAME: {kind(inside[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bounds(metadata: typing.Iterable[Any]) -> str:
    found = []
    for one in metadata:
        found += [f"{word} {getattr(one, name):g}" for name, word in BOUNDS.items() if hasattr(one, name)]
    return " " + " and ".join(found) if found else ""


def sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inside in typing.get_args(annotation) for found in sections(inside)]


def unit(name: str, field: FieldInfo) -> str:
    """The unit that a name states; empty where the description has it, or where there is none."""
    if not _is_number(field.annotation):
        return ""
    for end, word in UNITS.items():
        if name == end or name.endswith(f"_{end}"):
            return word
    return next((word for part, word in UNITS_WITHIN.items() if part in name), "")


def _is_number(annotation: Any) -> bool:
    if annotation in (int, float):
        return True
    return any(_is_number(inside) for inside in typing.get_args(annotation))


def default(field: FieldInfo) -> str:
    """The default as YAML has it; empty where the field has none."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    return shown(plain(value))


def plain(value: Any) -> Any:
    """The value as YAML can hold it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return str(value) if isinstance(value, Path | datetime.date) else value


def shown(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
