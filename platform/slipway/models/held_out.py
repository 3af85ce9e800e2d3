"""Turn losses over held-out samples into a result, for `slipway evaluate` and for evaluations during training."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.data.held_out import HeldOut, Measured, Wanted
from slipway.errors import UserError
from slipway.models.evaluation import Result, Score


def measured(config: RunConfig) -> Measured | None:
    """Return how the run's kind of data measures held-out samples; None: it does not."""
    kind = kind_of(config)
    return kind if isinstance(kind, Measured) else None


def wanted(config: RunConfig) -> Wanted:
    """Return what the section `evaluation` requests."""
    asked = config.evaluation
    return Wanted(
        files=tuple(asked.files),
        text_key=asked.text_key,
        stride=asked.stride,
        limit=asked.limit,
        end_marks=asked.end_marks,
    )


def check_there(config: RunConfig) -> None:
    """Raise UserError if something that the section `evaluation` names does not exist; reads nothing."""
    kind = measured(config)
    if kind is None or not config.evaluation.interval:
        return
    try:
        kind.check_there(wanted(config))
    except UserError as error:
        raise error.replaced(path=f"evaluation.{error.path}") from None


def settings(config: RunConfig, wanted: Wanted, parts: Sequence[HeldOut]) -> dict[str, Any]:
    """Return the settings that identify a measurement. config: the one that the model runs with."""
    return {
        "measured": "loss",
        "texts": [{"what": one.what, **one.facts} for one in parts],
        "context": config.data.model_dump()["sequence_length"],
        "stride": wanted.stride,
        "end_marks": wanted.end_marks,
        "precision": config.training.precision,
    }


def result(
    config: RunConfig,
    wanted: Wanted,
    parts: Sequence[HeldOut],
    losses: Sequence[float],
    step: int,
    checkpoint: str | None = None,
) -> Result:
    """Return the result of a step. losses: of each part, summed over all of its samples. checkpoint: see Result."""
    kind = measured(config)
    assert kind is not None
    asked = settings(config, wanted, parts)
    names = [one.what for one in parts]
    return Result(
        name=name_of("loss", names, asked),
        title=title(names),
        step=step,
        scores=[
            Score(what=what, measure=measure, values=[value])
            for what, found in kind.measures(parts, losses).items()
            for measure, value in found.items()
        ],
        how=kind.rules(config, wanted),
        facts={"losses": dict(zip(names, losses, strict=True))},
        settings=asked,
        checkpoint=checkpoint,
    )


def title(names: Sequence[str]) -> str:
    """Return the title for people: the first three names, and how many more there are."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"Perplexity of {shown}"


def name_of(kind: str, names: Sequence[str], asked: dict[str, Any]) -> str:
    """Return the name of a result: its subject in characters for file names, and a checksum of all settings."""
    words = re.sub(r"[^a-z0-9]+", "-", "-".join([kind, *names]).lower()).strip("-")[:48].strip("-")
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
    return f"{words}-{digest[:8]}"
