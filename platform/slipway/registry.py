"""Names by which a configuration chooses a package: model families, data kinds, optimizers.

Slipway's own packages stand in the tables below, one line each. Any other installed package adds its own through an
entry point of the table's group, so that a family can live outside this repository. Imports nothing heavy.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from slipway.errors import UserError


@dataclass(frozen=True, eq=False)
class Registry:
    """The packages that `SECTION.TAG` of a configuration may name."""

    section: str
    tag: str
    what: str
    """The word for one of them, for people."""
    group: str
    """The group of entry points (PEP 621: project.entry-points) through which other packages add theirs."""
    packages: dict[str, str]

    @property
    def path(self) -> str:
        """The dotted path of the field that names one."""
        return f"{self.section}.{self.tag}"

    def names(self) -> list[str]:
        """Return all names that can be chosen here, sorted."""
        return sorted({*self.packages, *_entry_points(self.group)})

    def package(self, name: str) -> str:
        """Return the package that a name stands for. Raises UserError if the name is unknown."""
        package = self.packages.get(name) or _entry_points(self.group).get(name)
        if package is None:
            raise UserError(
                self.path, f"is not a known {self.what}", value=name, use=f"one of: {', '.join(self.names())}"
            )
        return package

    def part(self, name: str, module: str) -> Any:
        """Return the module `module` of a name's package. Raises UserError if the name is unknown."""
        return import_module(f"{self.package(name)}.{module}")

    def has(self, name: str, module: str) -> bool:
        """Return whether a name's package has this module, which is optional; does not import it.

        Raises UserError if the name is unknown.
        """
        return find_spec(f"{self.package(name)}.{module}") is not None

    def section_class(self, name: str) -> type:
        """Return the pydantic section that describes the named package: `Config` in its module `config`."""
        return self.part(name, "config").Config


@cache
def _entry_points(group: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=group)}


FAMILIES = Registry(
    "model",
    "family",
    "model family",
    "slipway.families",
    {"gpt": "slipway.models.gpt", "mae": "slipway.models.mae"},
)
DATA_KINDS = Registry(
    "data",
    "kind",
    "kind of data",
    "slipway.data_kinds",
    {
        "text": "slipway.data.text",
        "chat": "slipway.data.chat",
        "imagery": "slipway.data.imagery",
    },
)
OPTIMIZERS = Registry(
    "optimizer",
    "name",
    "optimizer",
    "slipway.optimizers",
    {"adamw": "slipway.optimizers.adamw", "muon": "slipway.optimizers.muon"},
)
BY_SECTION = {registry.section: registry for registry in (FAMILIES, DATA_KINDS, OPTIMIZERS)}


def validator(registry: Registry) -> Callable[[Any], Any]:
    """Return a function that validates a section as the kind that its tag names.

    Errors keep the section's own paths.
    """
    return by_tag(registry.section, registry.tag, registry.names, registry.section_class)


def by_tag(
    section: str, tag: str, names: Callable[[], Iterable[str]], kind: Callable[[str], Any]
) -> Callable[[Any], Any]:
    """Return such a function for a section of one of several kinds.

    names: returns the kinds' names; kind: returns the pydantic section of a name.
    """

    def validate(value: Any) -> Any:
        from pydantic import BaseModel, ValidationError
        from pydantic_core import PydanticCustomError

        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, dict):
            raise PydanticCustomError("dict_type", "must be a section (key: value)")
        name = value.get(tag)
        if name is None:
            misspelt = difflib.get_close_matches(tag, map(str, value), n=1)
            raise ValidationError.from_exception_data(
                section,
                [
                    {"type": "missing", "loc": (tag,), "input": value},
                    *({"type": "extra_forbidden", "loc": (key,), "input": value[key]} for key in misspelt),
                ],
            )
        if name not in names():
            choices = " or ".join(repr(one) for one in names())
            wrong = PydanticCustomError("literal_error", "must be {expected}", {"expected": choices})
            raise ValidationError.from_exception_data(
                section, [{"type": wrong, "loc": (tag,), "input": name}]
            )
        return kind(name).model_validate(value)

    return validate
