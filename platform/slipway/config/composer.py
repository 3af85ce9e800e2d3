"""Hydra's compositions, cached: the files of groups are read once for each set of choices; values are set on a copy.

Hydra spends about 100 ms on a composition, nearly all of it on the files. Programs that compose more than once in a
process (a sweep, a table of sizes, tests) need 2 ms for each further one.
"""

import functools
import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.config.explain import CompositionErrors, explain
from slipway.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Composer:
    """A composer of one configuration after another, from files that do not change meanwhile."""

    def __init__(self, folders: Iterable[Path], by_hydra: "Callable[[Sequence[str]], DictConfig]") -> None:
        """Start with an empty cache.

        folders: those that hold the groups. by_hydra: composes overrides as Hydra does, from these folders.
        """
        self._groups = {path.name for folder in folders for path in folder.iterdir() if path.is_dir()}
        self._by_hydra = by_hydra
        self._made: dict[tuple[str, ...], bytes] = {}

    def compose(self, words: Sequence[str]) -> "DictConfig":
        """Return what Hydra composes from these overrides. Raises what Hydra raises."""
        try:
            parsed = [parsed_word(word) for word in words]
        except UserError:
            return self._by_hydra(words)  # Hydra reports what is wrong
        if not all(map(self._is_simple, parsed)):
            return self._by_hydra(words)
        key, values = self.split(parsed)
        composed = self.made(key)
        if not values:
            return composed
        try:
            set_values(composed, values)
        except CompositionErrors():
            return self._by_hydra(words)
        return composed

    def split(self, parsed: Sequence[Any]) -> tuple[tuple[str, ...], list[Any]]:
        """Return the choices of files, as text, and the values, as parsed overrides."""
        choices = tuple(one.input_line or "" for one in parsed if self._is_choice(one))
        return choices, [one for one in parsed if not self._is_choice(one)]

    def made(self, choices: tuple[str, ...]) -> "DictConfig":
        """Return a copy of what Hydra composes from these choices. Raises what Hydra raises."""
        if choices not in self._made:
            self._made[choices] = pickle.dumps(
                self._by_hydra(choices)
            )  # copies in a tenth of deepcopy's time
        return pickle.loads(self._made[choices])

    def _is_choice(self, override: Any) -> bool:
        name = override.key_or_group.partition("@")[0]
        return name.partition("/")[0] in self._groups and "." not in name or self._is_hydras(override)

    def _is_simple(self, override: Any) -> bool:
        """Return whether an override is one value or one choice.

        Hydra merges a section that is set in place of a group.
        """
        one = not override.is_sweep_override() and not self._is_hydras(override)
        return one and not (self._is_choice(override) and isinstance(override.value(), dict))

    @staticmethod
    def _is_hydras(override: Any) -> bool:
        return override.key_or_group.replace("/", ".").partition(".")[0] == "hydra"


TAG = "type"
"""The field that gives the kind of a section within a section, and so which other fields it has."""


def set_values(composed: "DictConfig", values: Sequence[Any]) -> None:
    """Set parsed overrides on a composed configuration as Hydra does. Raises what Hydra raises.

    A section of another kind replaces the one that is there; Hydra would mix the fields of both.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from omegaconf import OmegaConf

    for override in values:
        given = None if override.is_sweep_override() else override.value()
        if not isinstance(given, dict):
            continue
        present: Any = OmegaConf.select(composed, override.key_or_group) or {}
        if TAG in given and TAG in present and given[TAG] != present[TAG]:
            OmegaConf.update(composed, override.key_or_group, None)
    ConfigLoaderImpl._apply_overrides_to_config(list(values), composed)


@functools.lru_cache(maxsize=4096)
def parsed_word(word: str) -> Any:
    """Return one override as Hydra's own object. Raises UserError."""
    return parsed_words([word])[0]


def parsed_words(words: Sequence[str]) -> list[Any]:
    """Return these overrides as Hydra's own objects. Raises UserError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        return OverridesParser.create().parse_overrides(list(words))
    except CompositionErrors() as error:
        raise explain(error) from error
