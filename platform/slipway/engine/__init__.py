"""Engines: process groups, models and optimizers behind one interface, each engine in a package of its own."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway.config.schema import RunConfig
    from slipway.engine.engine import Engine

ENGINES = {"megatron": "slipway.engine.megatron"}
"""The package of each engine that a family may name.

Its modules: `engine`, with ENGINE; `prepare`, which is imported before torch; `alone`, for checkpoints in one process.
"""


def engine_of(config: "RunConfig") -> "Engine":
    """Return the engine that trains the configured model.

    Imports torch: call slipway.engine.runtime.load_torch first.
    """
    return _part(config, "engine").ENGINE


def preparation_of(config: "RunConfig") -> ModuleType:
    """Return the module that prepares the engine's libraries before their import: quiet(), and with torch adapt()."""
    return _part(config, "prepare")


def tensors_of(config: "RunConfig") -> ModuleType:
    """Return the module that reads (Reader) and writes (Weight, write) a checkpoint's tensors in one process.

    Of libraries it imports only torch.
    """
    return _part(config, "alone")


def _part(config: "RunConfig", module: str) -> ModuleType:
    from slipway.models import family  # here, so that a part of an engine can be imported alone

    return import_module(f"{ENGINES[family(config).engine]}.{module}")
