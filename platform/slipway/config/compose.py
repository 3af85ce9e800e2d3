"""Composition, from overrides to RunConfig: Hydra composes plain YAML from conf/, pydantic validates it."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slipway import secrets
from slipway.config import budget
from slipway.config.composer import Composer
from slipway.config.explain import CompositionErrors, explain
from slipway.config.yaml_numbers import times_are_text
from slipway.shipped import shipped

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from slipway.config.schema import RunConfig

CONFIG_NAME = "config"
VERSION_BASE = "1.3"


def conf_dir() -> Path:
    """Return the directory of Hydra's groups: `slipway/conf` of a wheel, else `conf` of the checkout."""
    return shipped("conf", "config.yaml")


def compose(overrides: Sequence[str] = (), config_dir: Path | None = None) -> "RunConfig":
    """Return the validated configuration of `slipway VERB overrides...`. Raises UserError.

    Args:
        overrides: Hydra overrides of one run (no sweeps).
        config_dir: A directory of groups that is searched before conf/.
    """
    words = budget.alone(overrides)
    try:
        found = composed(words, config_dir)
    except CompositionErrors() as error:
        raise explain(error) from error
    return validate(found)


def composed(words: Sequence[str], config_dir: Path | None = None) -> "DictConfig":
    """Return what Hydra composes from these overrides, unresolved. config_dir: see compose.

    Raises one of CompositionErrors.
    """
    if config_dir is None:
        return _composer(conf_dir()).compose(words)
    # the user's own files may change
    return _by_hydra(conf_dir(), [*words, f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"])


@functools.cache
def _composer(folder: Path) -> Composer:
    return Composer([folder], functools.partial(_by_hydra, folder))


def _by_hydra(folder: Path, words: Sequence[str]) -> "DictConfig":
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    times_are_text()
    with initialize_config_dir(str(folder), version_base=VERSION_BASE):
        return hydra_compose(CONFIG_NAME, list(words))


def validate(composed: "DictConfig") -> "RunConfig":
    """Return the validated RunConfig: the one way from Hydra's configuration to ours. Raises UserError."""
    return validate_plain(resolve(composed))


def resolve(composed: "DictConfig", known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return sections as plain values with interpolations resolved. known: sections that need no second look.

    Raises UserError.
    """
    from omegaconf import OmegaConf

    def section(name: str) -> Any:
        value = composed[name]
        if OmegaConf.is_config(value):
            return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        return value

    try:
        return {name: known[name] if name in known else section(name) for name in map(str, composed)}
    except CompositionErrors() as error:
        raise explain(error) from error


def validate_plain(plain: dict[str, Any]) -> "RunConfig":
    """Return the RunConfig of plain values.

    Raises UserError; for secrets before any error that would repeat a value.
    """
    from pydantic import ValidationError

    from slipway.config.schema import RunConfig

    secrets.check_plain(plain, os.environ)
    named = budget.named(plain)
    try:
        return budget.resolved(RunConfig.model_validate(named))
    except ValidationError as error:
        raise budget.told(explain(error, named), plain) from error
