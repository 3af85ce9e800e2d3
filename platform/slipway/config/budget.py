"""The length of a run: one of training.steps, training.samples and training.units, or the units by the family's name.

What is given stays in the configuration; `training.steps` is always there: the whole steps that hold it. The
schedule's shares (optimizer.*_fraction) become steps in the same way.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slipway.errors import UserError
from slipway.registry import FAMILIES
from slipway.words import plural

if TYPE_CHECKING:
    from slipway.config.schema import RunConfig

GIVEN = ("steps", "samples", "units")
SHARES = {"lr_warmup_steps": "lr_warmup_fraction", "lr_wsd_decay_steps": "lr_wsd_decay_fraction"}
_LATER = 1  # a number of steps until the sizes of batches and samples are known


def _unit(family: str) -> str:
    """Return the unit that a family counts in, in the plural."""
    return plural(FAMILIES.part(family, "family").FAMILY.unit)


def _units() -> set[str]:
    """Return the units that the families count in, in the plural, such as tokens."""
    return {_unit(family) for family in FAMILIES.names()}


def keys() -> set[str]:
    """Return the dotted fields by which a budget may be given."""
    return {f"training.{name}" for name in {*GIVEN, *_units()}}


def alone(words: Sequence[str]) -> list[str]:
    """Return a command line on which a budget or a share is the only one of its kind: those from files become null.

    Raises UserError if the command line itself gives two of a kind.
    """
    found = list(words)
    if any(re.match(r"\+{0,2}training\.", word) for word in words):
        units = _units()
        found = _alone(found, [f"training.{name}" for name in (*GIVEN, *sorted(units - {*GIVEN}))])
    for steps, share in SHARES.items():
        found = _alone(found, [f"optimizer.{steps}", f"optimizer.{share}"])
    return found


def _alone(words: list[str], kinds: Sequence[str]) -> list[str]:
    keys = [word.partition("=")[0].lstrip("+") for word in words]
    words = [_forced(word) if key in kinds else word for key, word in zip(keys, words, strict=True)]
    given = {
        key: number
        for number, (key, word) in enumerate(zip(keys, words, strict=True))
        if key in kinds and word.partition("=")[1:] not in (("=", "null"), ("", ""))
    }
    if len(given) > 1:
        first, second, *_ = given
        raise UserError(
            second,
            f"is given beside {first}, which sets the same thing",
            value=words[given[second]].partition("=")[2],
            do="give one of them",
        )
    if not given:
        return words
    (at,) = given.values()
    others = [_forced(f"{kind}=null") for kind in kinds if kind not in keys]
    return [*words[: at + 1], *others, *words[at + 1 :]]


def _forced(word: str) -> str:
    """Return an override that Hydra accepts even if no file has its key: none has the name of a unit."""
    name = re.match(r"\+{0,2}training\.(\w+)", word)
    return f"++{word.lstrip('+')}" if name and name[1] not in GIVEN else word


def named(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with the units under their own key, and steps that may still be wrong.

    Raises UserError if more than one budget is given, or one in the unit of another family.
    """
    training, optimizer = plain.get("training"), plain.get("optimizer")
    if isinstance(training, dict):
        plain = plain | {"training": _budget(training, plain.get("model"))}
    if isinstance(optimizer, dict):
        plain = plain | {"optimizer": _shares(optimizer)}
    return plain


def _budget(training: dict[str, Any], model: Any) -> dict[str, Any]:
    family = model.get("family") if isinstance(model, dict) else None
    if family not in FAMILIES.names():
        return training  # another mistake, reported under its own name
    unit, names = _unit(family), _units() | {*GIVEN}
    given = {name: value for name, value in training.items() if name in names and value is not None}
    for name in given.keys() - {*GIVEN, unit}:
        raise UserError(
            f"training.{name}",
            f"is not for model.family={family}, which counts {unit}",
            value=given[name],
            use=f"training.{unit}, training.samples or training.steps",
        )
    if len(given) > 1:
        first, second, *_ = given
        raise UserError(
            f"training.{second}",
            f"is given beside training.{first} {given[first]}, which sets the same thing",
            value=given[second],
            do="set one of them to null",
        )
    others = {name: value for name, value in training.items() if name not in names}
    found = {name if name in GIVEN else "units": value for name, value in given.items()}
    return {**others, **({"steps": _LATER} if given else {}), **found}


def told(error: UserError, plain: dict[str, Any]) -> UserError:
    """Return an error about the budget under the name that the composed configuration has for it."""
    if error.path in ("training.units", "training.steps"):
        training, unit = plain["training"], _unit(plain["model"]["family"])
        if error.path == "training.units" and training.get(unit) is not None:
            return error.replaced(path=f"training.{unit}")
        if training.get("steps") is None:
            return error.replaced(do=f"set training.steps=..., training.samples=... or training.{unit}=...")
    return error


def _shares(optimizer: dict[str, Any]) -> dict[str, Any]:
    for steps, share in SHARES.items():
        if optimizer.get(share) is None:
            continue
        if optimizer.get(steps):
            raise UserError(
                f"optimizer.{share}",
                f"is given beside optimizer.{steps} {optimizer[steps]}, which sets the same thing",
                value=optimizer[share],
                do="set one of them to null",
            )
        optimizer = optimizer | {steps: _LATER}
    return optimizer


def resolved(config: "RunConfig") -> "RunConfig":
    """Return the configuration with the steps that its budget takes, and those of the schedule's shares."""
    steps = steps_of(config)
    training = config.training.model_copy(update={"steps": steps})
    return config.model_copy(
        update={
            "training": training,
            "optimizer": config.optimizer.model_copy(update=shares_of(config, steps)),
        }
    )


def steps_of(config: "RunConfig") -> int:
    """Return the number of whole steps that hold what was asked for."""
    name, asked = given(config)
    return asked if name == "steps" else -(-asked // per_step(config))


def shares_of(config: "RunConfig", steps: int) -> dict[str, int]:
    """Return the steps of each share that is given, at least one."""
    shares = {steps: getattr(config.optimizer, share) for steps, share in SHARES.items()}
    return {name: max(1, round(share * steps)) for name, share in shares.items() if share is not None}


def given(config: "RunConfig") -> tuple[str, int]:
    """Return what was asked for: its key in `training`, by which users know it, and the number."""
    training = config.training
    if training.units is not None:
        return _unit(config.model.family), training.units
    return ("steps", training.steps) if training.samples is None else ("samples", training.samples)


def in_words(config: "RunConfig") -> str | None:
    """Return how the steps follow from what was asked for, in words; None if steps were."""
    name, asked = given(config)
    if name == "steps":
        return None
    each, batch = per_step(config), config.training.global_batch_size
    steps = f"{asked / each:,.2f}".rstrip("0").rstrip(".") if asked % each else f"{asked // each:,}"
    size = f"{batch:,} samples" + (f" x {each // batch:,} {name}" if each > batch else "")
    whole = f", rounded up to {steps_of(config):,}" if asked % each else ""
    return f"training.{name} {asked:,} = {steps} steps of {size}{whole}"


def check_batches(config: "RunConfig", step: int, step_samples: int) -> None:
    """Raise UserError if the budget is not in steps, and the steps done so far had other batches than the next ones.

    step_samples: the samples of those steps. The number of steps is the budget divided by one batch (steps_of), which
    would end such a run too early or too late.
    """
    name, asked = given(config)
    batch = config.training.global_batch_size
    if name == "steps" or step_samples == step * batch:
        return
    left = max(0, -(-asked * batch // per_step(config)) - step_samples)
    steps = step + -(-left // batch)
    raise UserError(
        f"training.{name}",
        f"is divided by training.global_batch_size {batch}, but the {step:,} steps done so far had "
        f"{step_samples:,} samples, not {step * batch:,}",
        value=asked,
        do=f"set training.steps={steps} ({step:,} steps done, plus {left:,} samples / {batch})",
    )


def per_step(config: "RunConfig") -> int:
    """Return how many of what was asked for are in one step. Raises UserError if the model cannot read the data."""
    training = config.training
    if training.units is None:
        return 1 if training.samples is None else training.global_batch_size
    return (
        training.global_batch_size * FAMILIES.part(config.model.family, "family").FAMILY.sample(config).units
    )
