"""The history of a model, gathered from the files of its run: nothing is asked, and nothing is guessed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from slipway import __version__, models
from slipway.checkpoint.store import CheckpointInfo, Imported
from slipway.config.schema import RunConfig
from slipway.handover.origin import origin_of
from slipway.metrics import evaluations, file
from slipway.models.evaluation import Result
from slipway.run_dir import RunDir
from slipway.runs import energy, ledger
from slipway.runs.energy import Use
from slipway.words import plural


@dataclass(frozen=True)
class Source:
    """One source of the data."""

    name: str
    inputs: list[str]
    """Names of files and folders, without the folders that they are in."""
    samples: int
    """Samples drawn from this source."""
    facts: Mapping[str, Any]
    """What describes the source's samples, checksums included; the keys are for people."""


@dataclass(frozen=True)
class Record:
    """A model's history; a field is None if it is not known."""

    name: str
    step: int
    parameters: int
    precision: str
    """The precision of the numbers that are written."""
    config: RunConfig
    versions: dict[str, str]
    origin: Imported | None
    """The origin of the run's first weights."""
    sources: list[Source]
    samples: int
    units: int
    unit: str
    """The name of a unit in the plural, such as tokens."""
    layouts: list[str]
    """The layouts with which the run was trained, with their devices."""
    device_hours: float | None
    hours_to_step: int | None
    """The step up to which the device-hours count, which are those of the whole run so far."""
    energy: Use
    training_loss: tuple[int, float] | None
    """(step, loss): the newest one on record up to the checkpoint."""
    validation_loss: tuple[int, float] | None
    evaluations: list[Result]
    """The evaluations of this step."""


def of(config: RunConfig, info: CheckpointInfo, parameters: int, precision: str) -> Record:
    """Return what the run's files tell of a checkpoint. parameters: numbers in the exported weights."""
    run_dir = config.run.dir
    family = models.family(config)
    segments = ledger.read_segments(run_dir, alive=False, tell=lambda line: None)
    steps = [one.last_step for one in segments if one.last_step is not None]
    return Record(
        name=config.run.name,
        step=info.step,
        parameters=parameters,
        precision=precision,
        config=config,
        versions={"slipway": __version__, **info.versions},
        origin=info.imported or origin_of(run_dir),
        sources=_sources(config, info),
        samples=info.consumed_samples,
        units=info.consumed_samples * family.sample(config).units,
        unit=plural(family.unit),
        layouts=list(
            dict.fromkeys(
                f"{one.facts.layout_text} on {one.facts.world_size:,} {one.facts.device or 'unknown'} device"
                f"{'s' if one.facts.world_size > 1 else ''}"
                for one in segments
            )
        ),
        device_hours=sum(one.device_hours for one in segments) if segments else None,
        hours_to_step=max(steps, default=None),
        energy=energy.of_run(segments),
        training_loss=_loss(config, "train", info.step),
        validation_loss=_loss(config, "validation", info.step),
        evaluations=[one for one in evaluations.found(run_dir)[0] if one.step == info.step],
    )


def _sources(config: RunConfig, info: CheckpointInfo) -> list[Source]:
    consumed = info.data.consumed
    names = [name for name in consumed if consumed[name]]
    inputs = {name: getattr(source, "inputs", []) for name, source in config.data.sources.items()}
    return [
        Source(
            name,
            [PurePath(one).name or one for one in inputs.get(name, [])],
            consumed[name],
            info.data.facts.get(name, {}),
        )
        for name in names
    ]


def _loss(config: RunConfig, kind: str, step: int) -> tuple[int, float] | None:
    """Return (step, loss) of the newest line of a kind up to a step; None if there is none."""

    def is_it(record: file.Record) -> bool:
        return record["kind"] == kind and record["step"] <= step and file.number(record, "loss") is not None

    for record in file.newest(RunDir(config.run.dir).metrics, is_it):
        if is_it(record):
            return record["step"], file.number(record, "loss") or 0.0
    return None
