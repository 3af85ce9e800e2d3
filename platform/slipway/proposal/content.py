"""Turns a plan and a measurement into a document: what can be known from them, and gaps for what cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway import __version__, words
from slipway.bench.record import describe_machine, describe_versions, versions
from slipway.bench.scaling.sizes import SCALINGS, STRONG
from slipway.bench.scaling.table import Measurement, Row
from slipway.data import kind_of
from slipway.plan import Plan
from slipway.plan.facts import sizes_of
from slipway.plan.units import Units
from slipway.proposal import storage
from slipway.proposal.access import Programme
from slipway.proposal.document import Document, Figure, Heading, Paragraph, Table
from slipway.proposal.time import ComputerTime, same_machine, same_model, slices
from slipway.words import duration, figure, quantity, size


@dataclass(frozen=True)
class Request:
    """The input of the document."""

    plan: Plan
    measurement: Measurement
    time: ComputerTime
    programme: Programme
    runs: int
    picture: Path
    """The plot of the measurement."""
    answers: Mapping[str, str]


def compose(request: Request) -> Document:
    """Return the whole document; what remains to be filled in is listed at its end."""
    plan = request.plan
    document = Document(f"Technical annex: {plan.config.model.name}", request.answers)
    _project(document)
    _software(document, request)
    _model(document, plan)
    _data(document, plan)
    _time(document, request)
    _memory(document, plan)
    _storage(document, plan)
    _scaling(document, request)
    if document.gaps:
        document.add(
            Heading("Still to be filled in"),
            Table(("No.", "Name", "What"), [(str(gap.number), gap.name, gap.what) for gap in document.gaps]),
        )
    return document


def _project(document: Document) -> None:
    document.add(Heading("Project"))
    document.ask("title", "title and acronym of the project")
    document.ask("applicant", "principal investigator, institution, partners")
    document.ask("purpose", "scientific or industrial purpose of the training, and what is new about it")
    document.ask("period", "start and duration of the project, and when the computer time is needed")


def _software(document: Document, request: Request) -> None:
    config, here = request.plan.config, versions()
    image = config.launch.image or config.cluster.container.image
    rows = [
        ("Slipway", f"{__version__}, Apache-2.0"),
        *((name, number) for name, number in here.items() if name != "slipway"),
        ("container image", image),
    ]
    document.add(
        Heading("Software"),
        Paragraph(
            "Slipway trains with Megatron-core and PyTorch. It divides a model by tensor, pipeline, context and expert "
            "parallelism and its batch by data parallelism, writes checkpoints that any other layout can continue "
            "from, and continues a training from job to job."
        ),
        Table((), rows),
    )


def _model(document: Document, plan: Plan) -> None:
    config, unit = plan.config, Units.of(plan)
    training = config.training
    active = (
        f" ({quantity(plan.active_parameters)} active)" if plan.active_parameters < plan.parameters else ""
    )
    samples = f"{plan.samples:,} samples" + (
        "" if unit.is_sample else f" = {quantity(plan.units)} {unit.name}"
    )
    rows = [
        ("model", f"{config.model.name}, family {config.model.family}"),
        ("parameters", f"{plan.parameters:,}{active}"),
        *_numbers(config.model.model_dump(mode="json", exclude_defaults=True)),
        ("precision", training.precision + (f", products in FP8 ({training.fp8})" if training.fp8 else "")),
        ("global batch", f"{training.global_batch_size:,} samples of {plan.units_per_sample:,} {unit.name}"),
        ("length", f"{training.steps:,} steps, {samples}"),
        ("work", f"{quantity(plan.flops_per_step * training.steps, 'FLOP')} of forward and backward passes"),
        ("layout", words.layout(sizes_of(config.parallelism, plan.data_parallel_size))),
    ]
    document.add(Heading("Model and training"), Table((), rows))
    document.ask("method", "why this model and this amount of training: references, earlier results")


def _numbers(model: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the sizes of the model under their names in its configuration."""
    return [
        (name.replace("_", " "), f"{value:,}")
        for name, value in model.items()
        if isinstance(value, int) and not isinstance(value, bool) and value > 0
    ]


def _data(document: Document, plan: Plan) -> None:
    config, unit = plan.config, Units.of(plan)
    prepared = storage.prepared_bytes(config)
    rows = [
        ("kind", config.data.kind),
        ("prepared in", ", ".join(str(folder) for folder in kind_of(config).folders(config).values()) or "-"),
        ("read by the training", f"{plan.samples:,} samples, {quantity(plan.units)} {unit.name}"),
    ]
    if prepared is not None:
        rows.append(("size of the prepared data", size(prepared)))
    document.add(Heading("Data"), Table((), rows))
    document.ask("data", "what the data are, where they come from, licence, personal data, who may use them")
    if prepared is None:
        document.ask("data_volume", "size of the data in bytes: they are not prepared on this machine")


def _time(document: Document, request: Request) -> None:
    plan, time, programme = request.plan, request.time, request.programme
    config = plan.config
    device, resources = config.cluster.device, config.resources
    job = slices(config, time.hours)
    rows = [
        ("cluster", config.cluster.name),
        (
            "devices",
            f"{plan.world_size:,} {device.name} (nodes {resources.nodes:,} × devices {resources.devices_per_node})",
        ),
        ("time of a step", f"{duration(time.step_seconds)}, {time.basis}"),
        ("time of one run", duration(3600 * time.hours)),
        ("runs", str(request.runs)),
        ("computer time", time.arithmetic),
    ]
    if time.energy_kwh is not None:
        rows.append(
            ("energy", f"{figure(time.energy_kwh)} kWh, of the devices alone, at full load all the time")
        )
    if job:
        length, count = job
        rows.append(
            ("jobs of a run", f"{count:,} of up to {length:g} h, each continues from the last checkpoint")
        )
    document.add(Heading("Computer time"), Table((), rows))
    if device.kind == "cpu":
        mode = f"{programme.programme}: none, as its access modes count {programme.unit} and these devices are CPUs."
    else:
        chosen = programme.of(time.device_hours)
        limit = "any amount above" if chosen.most is None else f"up to {chosen.most:,} {programme.unit}"
        mode = f"{programme.programme}: {figure(time.device_hours)} {programme.unit} fall into {chosen.name} ({limit})."
    document.add(
        Paragraph(f"{mode} Limits as of {programme.noted:%Y-%m-%d}, {programme.source}: {programme.remark}.")
    )
    if request.runs == 1:
        document.ask(
            "runs", "further runs that are needed (trials, ablations, repetitions), or why one is enough"
        )


def _memory(document: Document, plan: Plan) -> None:
    memory = plan.memory
    fullest = max(memory.stages, key=lambda stage: stage.total)
    parts = {name: value for name, value in fullest.model_dump().items() if name != "stage" and value}
    rows = [(name.replace("_", " "), size(value)) for name, value in parts.items() if isinstance(value, int)]
    rows.append(("total", size(fullest.total)))
    if memory.device is not None:
        rows.append(("memory of a device", size(memory.device)))
    document.add(Heading("Memory of a device"), Table(("Part", "Size"), rows, numbers=True))


def _storage(document: Document, plan: Plan) -> None:
    kept = storage.checkpoints(plan)
    prepared = storage.prepared_bytes(plan.config)
    interval = plan.config.checkpoint.interval
    every = f"every {interval:,} steps and at the end" if interval else "at the end"
    need = [kept.one * kept.at_once, *([prepared] if prepared is not None else [])]
    without = "" if prepared is not None else ", without the data"
    rows = [
        ("a checkpoint", f"{size(kept.one)}: {kept.arithmetic}"),
        ("written", f"{kept.written:,} times, {every}"),
        ("kept at once", f"{kept.at_once:,} at most: {size(kept.one * kept.at_once)}"),
        ("storage of a run", size(sum(need)) + without),
    ]
    document.add(Heading("Checkpoints and storage"), Table((), rows))
    transfers = [
        ("to the site", "prepared data", "as stated above" if prepared is None else size(prepared)),
        ("from the site", "last checkpoint", size(kept.one)),
    ]
    document.add(Table(("Data to transfer", "What", "Size"), transfers))
    document.ask("retention", "where data and results are kept after the project, and for how long")


def _scaling(document: Document, request: Request) -> None:
    plan, measurement = request.plan, request.measurement
    measured, record = measurement.summary, measurement.record
    document.add(
        Heading("Scalability"),
        Paragraph(
            f"Measured is the trainer's own step, on random input: {measured.steps} steps in each repeat. Speed-up and "
            "efficiency are of samples per second, intervals of 95% confidence over repeats."
        ),
        Table(
            (),
            [
                ("model", f"{measured.model}, {measured.parameters:,} parameters, {measured.precision}"),
                ("cluster", f"{measured.cluster}: {measured.device} ({describe_machine(record)})"),
                ("versions", describe_versions(record)),
                ("date", record["date"][:10]),
                ("command", record["command"]),
                ("MFU", "of a measured peak" if measured.peak == "measured" else "of the profile's peak"),
                *([("remark", measured.remark)] if measured.remark else []),
            ],
        ),
    )
    for scaling in SCALINGS:
        if rows := measurement.of(scaling):
            document.add(Paragraph(_sentence(scaling, rows)), _table(rows, measurement.units))
    document.add(Figure(request.picture, f"Scaling of {measured.model} on {measured.cluster}"))
    most = max(row.devices for row in measurement.rows)
    asked = f"{plan.world_size:,} devices of {plan.config.cluster.name} with {plan.config.model.name}"
    if not same_machine(plan, measurement) or not same_model(plan, measurement) or most < plan.world_size:
        made = f"up to {most:,} devices of {measured.cluster} with {measured.model}"
        document.add(Paragraph(f"The measurement was made on {made}; asked for are {asked}."))
        document.ask("scaling_there", f"a measurement on {asked}, or why this one stands for it")


def _sentence(scaling: str, rows: list[Row]) -> str:
    first, last = rows[0], rows[-1]
    what = "the same global batch" if scaling == STRONG else "a global batch that grows with the devices"
    return (
        f"{scaling.capitalize()} scaling ({what}): from {first.devices:,} to {last.devices:,} devices the speed-up is "
        f"{last.speed_up:.1f} of {last.ideal_speed_up:g}, an efficiency of {last.efficiency:.0%}."
    )


def _table(rows: list[Row], units: str) -> Table:
    head = (
        "Devices",
        "Layout",
        "Batch",
        "Step (s)",
        f"{units}/s",
        "Speed-up",
        "Efficiency",
        "95% interval",
        "MFU",
    )
    return Table(
        head,
        [
            (
                f"{row.devices:,}",
                row.layout,
                f"{row.global_batch_size:,}",
                figure(row.step_s),
                figure(row.units_per_second),
                f"{row.speed_up:.2f}",
                f"{row.efficiency:.0%}",
                "-"
                if row is rows[0] or row.efficiency_low is None or row.efficiency_high is None
                else f"{row.efficiency_low:.0%} to {row.efficiency_high:.0%}",
                f"{row.mfu:.1%}",
            )
            for row in rows
        ],
        numbers=True,
    )
