"""What computes: process groups, models and optimizers behind one interface, each engine in a room of its own."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from slipway.config.schema import RunConfig
from slipway.models import family

if TYPE_CHECKING:
    from slipway.engine.engine import Engine

ENGINES = {"megatron": "slipway.engine.megatron"}
"""The package of each engine that a family may name: ENGINE in its module `engine`; `prepare` comes before torch."""


def engine_of(config: RunConfig) -> "Engine":
    """The engine that trains the configured model. Imports torch: call slipway.engine.runtime.load_torch first."""
    return import_module(f"{ENGINES[family(config).engine]}.engine").ENGINE


def preparation_of(config: RunConfig) -> ModuleType:
    """What the configured model's engine needs before its libraries are imported: quiet(), and with torch adapt()."""
    return import_module(f"{ENGINES[family(config).engine]}.prepare")
