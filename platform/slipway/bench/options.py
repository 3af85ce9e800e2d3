"""What the benchmarks' command lines have in common."""

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
"""Where results go, below the current folder, unless --out says otherwise."""
DEFAULT = f"{GROUP}={TO_PLAN}text"
"""What stands for data where no model is chosen."""


def at_least(option: str, value: int, least: int) -> None:
    """Refuse a smaller value."""
    if value < least:
        raise UserError(option, f"is below {least}", value=value, use=f"at least {least}")


def make_folder(option: str, folder: Path) -> None:
    """Create the folder before anything is measured."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(option, f"cannot be created: {error.strerror}", value=folder) from error


def configuration(defaults: Sequence[str], overrides: Sequence[str], run_dir: Path) -> RunConfig:
    """Compose the default shape and what is asked for, on samples that are made up. Raises UserError.

    Defaults of `data` are for text, and left out where the model reads something else.
    """
    words = with_defaults(defaults, overrides)
    if _stand_in(words) != DEFAULT:
        words = [word for word in words if word in overrides or not word.startswith("data.")]
    return compose([*made_up(words), f"run.dir={run_dir}"])


def of_gpt(what: str, config: RunConfig) -> None:
    """Refuse models of other families, where what is measured is written for GPT's."""
    if config.model.family != "gpt":
        raise UserError(
            what,
            f"measures models of the family gpt alone, but model.family is {config.model.family}",
            do="choose another model; `slipway bench train` measures those of every family",
        )


def made_up(words: Sequence[str]) -> list[str]:
    """Return the overrides, and those for a model whose samples are made up: no data is read, so none limits the model."""
    standing = _stand_in(words)
    kind = DATA_KINDS.part(standing.removeprefix(f"{GROUP}={TO_PLAN}"), "kind").KIND
    chosen = any(word.lstrip("+").startswith(f"{GROUP}=") for word in words)
    return [*words, *([] if chosen else [standing]), *(kind.unlimited if isinstance(kind, MadeUp) else ())]


def _stand_in(words: Sequence[str]) -> str:
    """Return what stands for data of a kind that the model reads."""
    elsewhere = [word for word in words if not word.lstrip("+").startswith((f"{GROUP}=", f"{GROUP}."))]
    chosen = any(word.lstrip("+").startswith(("model=", "experiment=")) for word in words)
    return stand_in(elsewhere) if chosen else DEFAULT


def with_defaults(defaults: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the default shape and what is asked for.

    A default gives way to a group that is chosen (`model=x` to its `model.*`), and all of them to an
    experiment: Hydra would let the single values win over the group.
    """
    chosen = {word.partition("=")[0].lstrip("+") for word in overrides}
    if "experiment" in chosen:
        return list(overrides)
    kept = [d for d in defaults if d.partition("=")[0].partition(".")[0] not in chosen]
    return [*kept, *overrides]
