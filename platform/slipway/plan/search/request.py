"""Reads what a command line asks to search: a range of devices, and the values that a layout's fields may have."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from slipway.config.automatic import AUTO
from slipway.config.explain import CompositionErrors, explain
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan.search.space import SEARCHED, Allowed

DEVICES = ("resources.nodes", "resources.devices_per_node")


class Request(NamedTuple):
    """Words that compose one configuration, and the values that they leave open."""

    words: list[str]
    """Fields with several values are `auto` here; devices have the largest number of their range."""
    allowed: Allowed
    ranges: dict[str, list[int]]
    """The field of resources -> its values, in ascending order."""

    def shapes(self, config: RunConfig) -> list[tuple[int, int]]:
        """Return nodes and devices per node of each machine to search, the smallest first."""
        nodes = self.ranges.get("resources.nodes", [config.resources.nodes])
        devices = self.ranges.get("resources.devices_per_node", [config.resources.devices_per_node])
        return sorted(product(nodes, devices), key=lambda shape: (shape[0] * shape[1], shape))


def read(words: Sequence[str]) -> Request:
    """Return the request in a command line's words.

    Raises UserError if a field has several values that a search cannot vary, or a number of devices is not positive.
    """
    overrides = [word for word in words if not word.startswith("-") and "=" in word]
    composed, allowed, ranges = list(words), {}, {}
    for word, parsed in zip(overrides, _parsed(overrides), strict=True):
        if not parsed.is_sweep_override():
            continue
        field = parsed.get_key_element()
        values = _values(parsed, field)
        position = composed.index(word)
        if field in DEVICES:
            ranges[field] = _counts(field, values)
            composed[position] = f"{field}={max(ranges[field])}"
        elif field in SEARCHED:
            allowed[field] = values
            composed[position] = f"{field}={AUTO}"
        else:
            raise UserError(
                field,
                "has several values, but a search varies only layouts and devices",
                value=word.partition("=")[2],
                use="one value",
                do=f"give several of {', '.join((*DEVICES, *SEARCHED))}",
            )
    if not any(word.startswith("parallelism=") for word in overrides):
        composed.append(f"parallelism={AUTO}")
    return Request(composed, allowed, ranges)


def _parsed(words: Sequence[str]) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        return OverridesParser.create().parse_overrides(list(words))
    except CompositionErrors() as error:
        raise explain(error) from error


def _values(parsed: Any, field: str) -> list[Any]:
    from hydra.core.override_parser.types import Transformer

    if not parsed.is_discrete_sweep():
        raise UserError(field, "yields values without end", use="commas")
    return list(dict.fromkeys(parsed.sweep_iterator(transformer=Transformer.identity)))


def _counts(field: str, values: list[Any]) -> list[int]:
    for value in values:
        if type(value) is not int or value < 1:
            raise UserError(
                field,
                "is not a positive number of machines or devices",
                value=value,
                do="give whole numbers above 0",
            )
    return sorted(values)
