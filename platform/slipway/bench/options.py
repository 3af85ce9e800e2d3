"""What the benchmarks' command lines have in common."""

from collections.abc import Sequence
from pathlib import Path

from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.errors import UserError

OUT = Path("outputs/bench")
"""Where results go, below the current folder, unless --out says otherwise."""


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
    """Compose the default shape and what is asked for, on random tokens. Raises UserError."""
    return compose([*with_defaults(defaults, overrides), *random_tokens(overrides), f"run.dir={run_dir}"])


def random_tokens(overrides: Sequence[str]) -> list[str]:
    """Overrides for models that are given random tokens: no text is read, so none limits the model."""
    chosen = [] if any(word.lstrip("+").startswith("data=") for word in overrides) else ["data=stdlib"]
    return [*chosen, "data.tokenizer.vocab_size=${model.vocab_size}", "data.allow_large_models=true"]


def with_defaults(defaults: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The default shape and what is asked for.

    A default gives way to a group that is chosen (`model=x` to its `model.*`), and all of them to an
    experiment: Hydra would let the single values win over the group.
    """
    chosen = {word.partition("=")[0].lstrip("+") for word in overrides}
    if "experiment" in chosen:
        return list(overrides)
    kept = [d for d in defaults if d.partition("=")[0].partition(".")[0] not in chosen]
    return [*kept, *overrides]
