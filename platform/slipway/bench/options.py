"""Options and configurations that the benchmarks' command lines share."""

from collections.abc import Sequence
from pathlib import Path

from slipway.config.compose import compose
from slipway.config.explain import TO_PLAN
from slipway.config.schema import RunConfig
from slipway.config.stand_in import GROUP, stand_in
from slipway.data.kind import MadeUp
from slipway.errors import UserError
from slipway.registry import DATA_KINDS

OUT = Path("outputs/bench")
"""Folder for results, below the current folder, unless --out names another."""
DEFAULT = f"{GROUP}={TO_PLAN}text"
"""The stand-in for data if no model is chosen."""


def at_least(option: str, value: int, least: int) -> None:
    """Raise UserError if the value of an option is below `least`."""
    if value < least:
        raise UserError(option, f"is below {least}", value=value, use=f"at least {least}")


def make_folder(option: str, folder: Path) -> None:
    """Create the folder before anything is measured. Raises UserError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            option,
            f"cannot be created: {error.strerror}",
            value=folder,
            do="name a directory that you can write to",
        ) from error


def configuration(defaults: Sequence[str], overrides: Sequence[str], run_dir: Path) -> RunConfig:
    """Return the default shape with what is asked for, on samples that are made up. Raises UserError.

    Defaults of `data` are for text; they are dropped if the model reads something else.
    """
    words = with_defaults(defaults, overrides)
    if _stand_in(words) != DEFAULT:
        words = [word for word in words if word in overrides or not word.startswith("data.")]
    return compose([*made_up(words), f"run.dir={run_dir}"])


def of_gpt(what: str, config: RunConfig) -> None:
    """Raise UserError for a model of another family; for benchmarks that are written for GPT's.

    what: the benchmark, for the message.
    """
    if config.model.family != "gpt":
        raise UserError(
            what,
            f"measures only models of the family gpt, but model.family is {config.model.family}",
            do="choose another model, or use `slipway bench train`, which measures every family",
        )


def made_up(words: Sequence[str]) -> list[str]:
    """Return the overrides with those for samples that are made up: no data is read, so none limits the model."""
    standing = _stand_in(words)
    kind = DATA_KINDS.part(standing.removeprefix(f"{GROUP}={TO_PLAN}"), "kind").KIND
    chosen = any(word.lstrip("+").startswith(f"{GROUP}=") for word in words)
    return [*words, *([] if chosen else [standing]), *(kind.unlimited if isinstance(kind, MadeUp) else ())]


def _stand_in(words: Sequence[str]) -> str:
    """Return the override that stands in for data of a kind that the model reads."""
    elsewhere = [word for word in words if not word.lstrip("+").startswith((f"{GROUP}=", f"{GROUP}."))]
    chosen = any(word.lstrip("+").startswith(("model=", "experiment=")) for word in words)
    return stand_in(elsewhere) if chosen else DEFAULT


def with_defaults(defaults: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the default shape with what is asked for.

    A default gives way to a group that is chosen (`model=x` to its `model.*`), and all of them to an experiment: Hydra
    would let the single values win over the group.
    """
    chosen = {word.partition("=")[0].lstrip("+") for word in overrides}
    if "experiment" in chosen:
        return list(overrides)
    kept = [d for d in defaults if d.partition("=")[0].partition(".")[0] not in chosen]
    return [*kept, *overrides]
