"""Shows the Plan to people."""

from collections.abc import Sequence
from itertools import groupby
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from slipway import words
from slipway.config import budget
from slipway.models import family
from slipway.plan import switches
from slipway.plan.facts import sizes_of
from slipway.plan.memory import PARTS, Share, StageMemory, stage_memory
from slipway.plan.plan import Plan
from slipway.plan.step.step import StepSeconds
from slipway.words import counted, duration, figure, plural, quantity, size

T = TypeVar("T")
SMALL = 0.005


def show(plan: Plan, ranks: int | None = 32, console: Console | None = None) -> None:
    """Print summary, memory by stage, and ranks (at most `ranks` rows, the middle elided; None: all)."""
    # Wide enough for every table if the output is not a terminal.
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(_summary(plan))
    console.print(_memory(plan))
    console.print(_ranks(plan, ranks))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD)


def _summary(plan: Plan) -> Table:
    table = _table(f"Plan of {plan.config.run.name}")
    table.show_header = False
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _summary_rows(plan):
        table.add_row(name, value)
    return table


def _summary_rows(plan: Plan) -> list[tuple[str, str]]:
    config = plan.config
    layout, training, resources = config.parallelism, config.training, config.resources
    active = (
        f" ({quantity(plan.active_parameters)} active)" if plan.active_parameters < plan.parameters else ""
    )
    strategy = layout.data_parallel_sharding_strategy
    speed = switches.switches(config, switches.installed())
    extras = [
        name
        for name, on in (
            ("sequence parallel", layout.sequence_parallel),
            ("distributed optimizer", layout.use_distributed_optimizer and strategy is None),
            ("sharded gradients (ZeRO-2)", strategy == "optim_grads"),
            ("sharded gradients and parameters (ZeRO-3)", strategy == "optim_grads_params"),
            (f"{training.recompute} recompute", training.recompute != "none"),
        )
        if on
    ]
    replicas = counted(plan.data_parallel_size, "replica")
    microbatches = counted(plan.num_microbatches, "microbatch")
    per_unit = quantity(plan.flops_per_sample / plan.units_per_sample, "FLOP")
    per_step = quantity(plan.flops_per_step, "FLOP")
    units = "" if plan.units_per_sample == 1 else f"; {plan.units_per_sample} {plural(plan.unit)} each"
    all_units = "" if plan.units_per_sample == 1 else f", {quantity(plan.units)} {plural(plan.unit)}"
    memory = plan.memory
    fits = ""
    if memory.device is not None:
        fits = f" of {size(memory.device)}: {'fits' if memory.fits else 'DOES NOT FIT'}"
    return [
        ("model", f"{config.model.name}, {plan.parameters:,} parameters{active}, {training.precision}"),
        (
            "devices",
            f"{plan.world_size:,} x {config.cluster.device.name} (nodes {resources.nodes} x devices "
            f"{resources.devices_per_node}), cluster {config.cluster.name}",
        ),
        ("layout", ", ".join([words.layout(sizes_of(layout, plan.data_parallel_size)), *extras])),
        *([("chosen", plan.choice.why)] if plan.choice else []),
        *_stage_rows(plan),
        *([("switches", "\n".join(switches.in_words(speed)))] if speed else []),
        *([("note", "\n".join(notes))] if (notes := family(config).notes(config)) else []),
        *([("changed", "\n".join(plan.changes))] if plan.changes else []),
        (
            "batch",
            f"{counted(training.global_batch_size, 'sample')} = {replicas} x {microbatches} x "
            f"{training.micro_batch_size}{units}",
        ),
        ("run", f"{training.steps:,} steps, {plan.samples:,} samples{all_units}"),
        *([("budget", asked)] if (asked := budget.in_words(config)) else []),
        ("schedule", _schedule(plan)),
        ("work", f"{per_unit} per {plan.unit}, {per_step} per step"),
        ("memory", f"{size(memory.largest)} on the fullest device{fits}"),
        *_recompute_rows(plan),
        *_key_value_rows(plan),
        *_time_rows(plan),
        ("directory", str(config.run.dir)),
    ]


def _key_value_rows(plan: Plan) -> list[tuple[str, str]]:
    """Return the row on the keys and values that the trained model keeps of a text that it continues."""
    kept = plan.key_values
    if kept is None:
        return []
    of = f"{size(kept.whole)} for {kept.context:,} {plural(plan.unit)}"
    if kept.least_per_token < kept.per_token:
        of += f"; {size(kept.least_per_token)} for a {plan.unit} as latent states"
    return [("keys, values", f"{size(kept.per_token)} for a {plan.unit} to go on from, {of}")]


def _schedule(plan: Plan) -> str:
    """Return the course of the learning rate over the run, in steps and in shares of them."""
    optimizer, steps = plan.config.optimizer, plan.config.training.steps
    warmup, decay = optimizer.lr_warmup_steps, optimizer.lr_wsd_decay_steps

    def share(of: int) -> str:
        return f"{of:,} steps ({of / steps:.2g} of the run)"

    parts = [f"warm-up over {share(warmup)}"] if warmup else []
    parts.append(f"learning rate {optimizer.lr:g}")
    if optimizer.lr_decay_style == "WSD" and decay is not None:
        parts.append(f"decay to {optimizer.min_lr:g} over the last {share(decay)}")
    elif optimizer.lr_decay_style != "constant":
        parts.append(f"{optimizer.lr_decay_style} decay to {optimizer.min_lr:g}")
    return ", ".join(parts)


def _stage_rows(plan: Plan) -> list[tuple[str, str]]:
    """Return the row on the layers of each model chunk, in pipeline order; empty if all have as many."""
    chunks = zip(*(stage.blocks for stage in plan.stages), strict=True)
    counts = [count for chunk in chunks for _, count in chunk]
    if len(set(counts)) == 1:
        return []
    alike = [(count, len(list(same))) for count, same in groupby(counts)]
    what = "layers of the stages" if len(counts) == len(plan.stages) else "layers of the model chunks"
    return [
        ("uneven", f"{what}: " + ", ".join(f"{count} (x {n})" if n > 1 else f"{count}" for count, n in alike))
    ]


def _recompute_rows(plan: Plan) -> list[tuple[str, str]]:
    """Return the row on what recomputation saves on the fullest device, and what it costs."""
    config, memory = plan.config, plan.memory
    if config.training.recompute == "none":
        return []
    keeping = config.training.model_copy(update={"recompute": "none", "recompute_modules": None})
    other = config.model_copy(update={"training": keeping})
    fullest = max(memory.stages, key=lambda stage: stage.total)
    kept = stage_memory(other, Share.of(other), plan.grid, fullest.stage, plan.num_microbatches).activations
    return [
        (
            "recompute",
            f"{', '.join(family(config).recomputed(config))}: {size(kept - fullest.activations)} less of "
            f"{size(kept)} activations there, {plan.time.recompute_factor - 1:.1%} more FLOP",
        )
    ]


def _time_rows(plan: Plan) -> list[tuple[str, str]]:
    time = plan.time
    if time.seconds_per_step is None or time.hours is None or time.device_hours is None:
        cluster, precision = plan.config.cluster.name, plan.config.training.precision
        why = f"cluster {cluster} states no {precision} peak" if time.peak_tflops is None else time.assumption
        return [("time", f"not estimated: {why}")]
    speed = plan.units_per_sample * plan.config.training.global_batch_size / time.seconds_per_step
    reached = (
        "" if time.mfu is None else f", {time.tflops_per_device:.3g} TFLOP/s per device (MFU {time.mfu:.1%})"
    )
    energy = "" if time.energy_kwh is None else f", up to {figure(time.energy_kwh)} kWh of the devices"
    return [
        (
            "time",
            f"{duration(time.seconds_per_step)} per step, {duration(time.hours * 3600)} in all, "
            f"{figure(time.device_hours)} device-hours{energy}",
        ),
        ("speed", f"{quantity(speed)} {plural(plan.unit)} per second{reached}"),
        *([("step", _parts(time.step))] if time.step else []),
        ("assuming", time.assumption),
    ]


def _parts(step: StepSeconds) -> str:
    """Return the shares of the step, the largest first; those below half a per cent are added up."""
    shares = sorted(((part / step.total, name) for name, part in step.parts.items()), reverse=True)
    shown = [f"{name.replace('_', ' ')} {share:.1%}" for share, name in shares if share >= SMALL]
    rest = sum(share for share, name in shares if share < SMALL)
    return ", ".join([*shown, *([f"other {rest:.1%}"] if rest >= SMALL / 5 else [])])


def _memory(plan: Plan) -> Table:
    table = _table("Memory per device, at the fullest moment")
    parts = [part for part in PARTS if any(getattr(stage, part) for stage in plan.memory.stages)] + ["total"]
    for name in ("stage", *parts):
        table.add_column(name.removesuffix("_states"), justify="right")
    for stage in _elided(plan.memory.stages, 16):
        table.add_row(*_memory_cells(stage, parts) if stage else ["⋮"] * (1 + len(parts)))
    return table


def _memory_cells(stage: StageMemory, parts: list[str]) -> list[str]:
    return [str(stage.stage), *(size(getattr(stage, name)) for name in parts)]


def _ranks(plan: Plan, limit: int | None) -> Table:
    table = _table("Ranks")
    names = ("rank", "node", "local", "tp", "cp", "ep", "dp", "pp", "layers", "parameters")
    for name in names:
        table.add_column(name, justify="right")
    for rank in _elided(range(plan.world_size), limit):
        table.add_row(*(["⋮"] * len(names) if rank is None else _rank_cells(plan, rank)))
    return table


def _rank_cells(plan: Plan, rank: int) -> list[str]:
    node, local_rank = divmod(rank, plan.config.resources.devices_per_node)
    at = plan.grid.coordinates(rank)
    stage = plan.stages[at.pp]
    layers = " ".join(f"{first}-{first + count - 1}" if count else "-" for first, count in stage.blocks)
    places = (rank, node, local_rank, at.tp, at.cp, at.ep, at.dp, at.pp)
    return [*map(str, places), layers, f"{stage.parameters:,}"]


def _elided(items: Sequence[T], limit: int | None) -> list[T | None]:
    """Return at most `limit` items, from both ends, with one None for those skipped."""
    if limit is None or len(items) <= limit:
        return list(items)
    return [*items[: -(-limit // 2)], None, *items[len(items) - limit // 2 :]]
