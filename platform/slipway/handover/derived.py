"""`model=auto`: the model that a folder's config.json describes, compared with a chosen one. Imports no torch."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.config import budget
from slipway.config.compose import conf_dir
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.handover.folder import CONFIG, names
from slipway.models.formats import FolderFormat, folder_formats

AUTO = "model=auto"
RATE, LENGTH = "optimizer.lr=1e-5", "training.steps=1000"
"""The overrides that no plan can do without."""


def is_auto(words: Sequence[str]) -> bool:
    """Return whether the model is to be derived."""
    return AUTO in words


def derived(folder: Path, settings: Mapping[str, Any], name: str) -> list[str]:
    """Return the overrides that make the model of a config.json. name: the format's.

    Raises UserError if the format does not know such a model.
    """
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
    """Return the command line with the derived model in place of `auto`, and the overrides added for a recipe."""
    rest = [word for word in words if word != AUTO]
    given = {word.partition("=")[0].lstrip("+") for word in rest}
    recipe = []
    if "experiment" not in given:
        recipe += [RATE] if "optimizer.lr" not in given else []
        recipe += [LENGTH] if not given & budget.keys() else []
    return [*model, *recipe, *rest], recipe


def held(folder: Path, settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the settings of config.json for which the folder has tensors. name: the format's.

    Raises UserError, naming the file, if the format cannot read the settings.
    """
    ((_, form),) = folder_formats(name).items()
    with naming(folder):
        form.of(settings)  # before weights are looked at
    return form.held(settings, names(folder))


def fields_of(form: FolderFormat, folder: Path, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of the section `model` that follow from a config.json.

    Raises UserError, naming the file, if the format cannot read the settings.
    """
    with naming(folder):
        return form.fields(settings)


def format_for(form: FolderFormat, folder: Path, settings: Mapping[str, Any]) -> FolderFormat:
    """Return the format in the variant that this folder has.

    Raises UserError, naming the file, if the format cannot read the settings.
    """
    with naming(folder):
        return form.of(settings)


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Name the folder's config.json in every UserError that is raised inside."""
    try:
        yield
    except UserError as error:
        raise error.replaced(path=f"{folder / CONFIG}: {error.path.removeprefix(CONFIG).strip()}") from None


def check_same(config: RunConfig, form: FolderFormat, folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise UserError, naming the overrides to set, if the configured model is not that of the folder.

    form: the format as it is for all models, not in this folder's variant.
    """
    found = fields_of(form, folder, settings)
    if found.get("family", config.model.family) != config.model.family:
        raise UserError(
            "model.family",
            f"differs from {found['family']} in {folder / CONFIG}",
            value=config.model.family,
            do="choose a model of that family",
        )
    ours = form.fields(form.settings(config, None))
    differing = [name for name in found if name != "name" and ours.get(name) != found[name]]
    if differing:
        first = differing[0]
        raise UserError(
            f"model.{first}",
            f"differs from {_word(found[first])} in {folder / CONFIG}",
            value=_word(ours.get(first)),
            use=" ".join(f"model.{name}={_word(found[name])}" for name in differing),
        )


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
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_word(each)}" for key, each in value.items()) + "}"
    return f"[{','.join(map(_word, value))}]" if isinstance(value, list | tuple) else str(value)
