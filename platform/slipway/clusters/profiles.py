"""Cluster profiles: those in the `cluster` directory of a user's own --config-dir, then those in conf/cluster.

Hydra composes one in about 0.1 s. A list reads many, so plain ones, whose `defaults:` name other profiles and nothing
else, are merged here, with the same result.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway import secrets
from slipway.config.cluster import Cluster
from slipway.config.compose import composed, conf_dir
from slipway.config.explain import CompositionErrors, explain, nearest
from slipway.config.section import Section
from slipway.config.yaml_numbers import times_are_text
from slipway.errors import UserError

GROUP = "cluster"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader that reads YAML as OmegaConf does, and faster: a key is given once, and a date is text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Return the mapping. Raises ConstructorError if a key is given twice."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(
                problem="found duplicate key", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


class _Holder(Section):
    """A section around the profile, so that errors have the path that they have in the whole configuration."""

    cluster: Cluster


@dataclass(frozen=True)
class Profiles:
    """The profiles that `cluster=NAME` can name."""

    config_dir: Path | None = None
    """A directory of groups that is searched before conf/."""

    def __post_init__(self) -> None:
        times_are_text()
        if self.config_dir is not None and not self.config_dir.is_dir():
            raise UserError(
                "--config-dir",
                "is not a directory",
                value=self.config_dir,
                use="one that holds cluster/NAME.yaml",
            )

    @property
    def folders(self) -> Sequence[Path]:
        """The directories that are searched for profiles, in order."""
        return [folder for folder in (self.config_dir, conf_dir()) if folder is not None]

    def files(self) -> dict[str, Path]:
        """Return the file of each profile by name, each directory's in alphabetical order, the user's own first."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for file in sorted((folder / GROUP).glob("*.yaml")):
                found.setdefault(file.stem, file)
        return found

    def load(self, name: str) -> Cluster:
        """Return one profile. Raises UserError if none has this name, or if it is not valid."""
        from pydantic import ValidationError

        files = self.files()
        if name not in files:
            raise UserError(f"clusters {name}", "no such cluster", do=nearest(name, files))
        plain = self._merged(f"{GROUP}/{name}")
        if plain is None or _unfinished(plain):
            plain = self._composed(name)
        secrets.check_plain(plain, os.environ, GROUP)
        try:
            return _Holder.model_validate({GROUP: plain}).cluster
        except ValidationError as error:
            problem = explain(error)
            raise problem.replaced(path=f"{files[name]}: {problem.path}") from error

    def _merged(self, path: str) -> dict[str, Any] | None:
        """Return a plain profile, merged with those that it derives from; None if only Hydra can compose it."""
        file = next((f for folder in self.folders if (f := folder / f"{path}.yaml").is_file()), None)
        if file is None:
            return None
        try:
            text = file.read_text(encoding="utf-8")
            own = yaml.load(text, Loader=_Loader)
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return None
        if not isinstance(own, dict) or "${" in text or "@package" in text:
            return None
        parents = own.pop("defaults", ["_self_"])
        if not isinstance(parents, list) or "_self_" not in parents:
            return None
        merged: dict[str, Any] = {}
        for parent in parents:
            part = own if parent == "_self_" else self._parent(path, parent)
            if part is None:
                return None
            merged = _merge(merged, part)
        return merged

    def _parent(self, path: str, named: object) -> dict[str, Any] | None:
        if not isinstance(named, str):
            return None
        target, at, package = named.partition("@")
        if at and package != "_here_" or not at and "/" in target:
            return None
        folder = path.rpartition("/")[0]
        return self._merged(target.removeprefix("/") if target.startswith("/") else f"{folder}/{target}")

    def _composed(self, name: str) -> dict[str, Any]:
        from omegaconf import OmegaConf

        try:
            found = composed([f"{GROUP}={name}"], self.config_dir)
            OmegaConf.resolve(found[GROUP])
            plain = OmegaConf.to_container(found[GROUP], throw_on_missing=True)
        except CompositionErrors() as error:
            raise explain(error) from error
        if not isinstance(plain, dict):
            raise UserError(
                self.files()[name],
                "must be a section (key: value), got a list",
                do="write it as the profiles in conf/cluster",
            )
        return {str(key): value for key, value in plain.items()}


def _merge(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in other.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _unfinished(plain: object) -> bool:
    """Return whether Hydra has to compose a profile: something in it has no value yet, or contains itself."""
    try:
        return _missing(plain)
    except RecursionError:
        return True


def _missing(plain: object) -> bool:
    """Return whether something has no value yet (OmegaConf's ???)."""
    if isinstance(plain, dict):
        return any(map(_missing, plain.values()))
    return plain == "???"
