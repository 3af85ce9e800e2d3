"""`model=auto`: the model of a folder's config.json, and how a chosen one differs from it. Imports no torch."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway.config.compose import conf_dir
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.handover.folder import CONFIG
from slipway.models.formats import FolderFormat, folder_formats

AUTO = "model=auto"
RECIPE = {"optimizer.lr": "optimizer.lr=1e-5", "training.": "training.steps=1000"}
"""What a plan cannot be without, by the beginning of the words that say it instead."""


def is_auto(words: Sequence[str]) -> bool:
    """Whether the model is to be derived."""
    return AUTO in words


def derived(folder: Path, settings: Mapping[str, Any], name: str) -> list[str]:
    """The overrides that make the model of a config.json. name: of the format. Raises UserError."""
    ((family, form),) = folder_formats(name).items()
    found = fields_of(form, folder, settings)
    base = _base(family)
    called = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-.") or "imported"
    words = [f"model=base/{family}", f"model.name={called}"]
    return words + [
        f"model.{field}={_word(value)}"
        for field, value in found.items()
        if field not in ("family", "name") and base.get(field, value is not None) != value
    ]


def with_derived(words: Sequence[str], model: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line with the derived model in place of `auto`, and what of a recipe had to be added to it."""
    rest = [word for word in words if word != AUTO]
    chosen = any(word.startswith("experiment=") for word in rest)
    recipe = [
        word
        for start, word in RECIPE.items()
        if not chosen and not any(given.lstrip("+").startswith(start) for given in rest)
    ]
    return [*model, *recipe, *rest], recipe


def fields_of(form: FolderFormat, folder: Path, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section `model` that a config.json says. Raises UserError, which names the file."""
    path = folder / CONFIG
    try:
        return form.fields(settings)
    except UserError as error:
        raise error if str(path) in error.path else error.replaced(path=f"{path}: {error.path}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(path, f"is not a model's: {type(error).__name__}: {error}") from None


def check_same(config: RunConfig, form: FolderFormat, folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise UserError where the configured model is not that of the folder, with what to set.

    Two values of a field are the same where the model's own config.json is (null, and what follows from it).
    """
    found = {name: value for name, value in fields_of(form, folder, settings).items() if name != "name"}
    if found.get("family", config.model.family) != config.model.family:
        raise UserError(
            "model.family", f"is not {found['family']}, as {folder / CONFIG} says", value=config.model.family
        )
    ours = form.settings(config, None)
    if form.settings(_with(config, found), None) == ours:
        return
    model = config.model.model_dump()
    differing = [
        name
        for name, value in found.items()
        if model.get(name) != value and not _is_same(config, form, ours, name, value)
    ]
    if not differing:  # each by itself is the same, or cannot be without another
        differing = [name for name, value in found.items() if model.get(name) != value]
    first = differing[0]
    raise UserError(
        f"model.{first}",
        f"is not {_word(found[first])}, as {folder / CONFIG} says",
        value=_word(model.get(first)),
        use=" ".join(f"model.{name}={_word(found[name])}" for name in differing),
    )


def _is_same(config: RunConfig, form: FolderFormat, ours: Mapping[str, Any], name: str, value: Any) -> bool:
    try:
        return form.settings(_with(config, {name: value}), None) == ours
    except UserError:
        return False


def _with(config: RunConfig, fields: Mapping[str, Any]) -> RunConfig:
    """The configuration with other fields of `model`, unchecked but for their types."""
    model = type(config.model).model_validate({**config.model.model_dump(), **fields})
    return config.model_copy(update={"model": model})


def _base(family: str) -> Mapping[str, Any]:
    from omegaconf import OmegaConf

    found = OmegaConf.to_container(OmegaConf.load(conf_dir() / "model" / "base" / f"{family}.yaml"))
    assert isinstance(found, dict)
    return {str(name): value for name, value in found.items()}


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{','.join(map(_word, value))}]" if isinstance(value, list | tuple) else str(value)
