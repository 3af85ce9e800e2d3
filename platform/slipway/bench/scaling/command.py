"""`slipway bench scaling`: measures here, or prints and submits jobs; then the table, the JSON and the picture."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slipway import cores
from slipway.bench import train
from slipway.bench.options import OUT, at_least, make_folder
from slipway.bench.record import print_table, publish, write
from slipway.bench.scaling import jobs, sizes, table
from slipway.bench.scaling.points import Done, Repeat, read, repeats
from slipway.bench.scaling.sizes import Asked, Point
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_CONTINUE, EXIT_DONE, UserError
from slipway.launch.placement import scheduler_of
from slipway.plan import plan_file
from slipway.plan.units import plural
from slipway.run_dir import RunDir


def run(options: argparse.Namespace) -> int:
    """Measure what is missing, here or by jobs, show all results, and return the exit code.

    Raises UserError for options that do not fit the cluster, or if several nodes have no scheduler.
    """
    for name in ("steps", "warmup", "repeats"):
        at_least(f"bench scaling --{name}", getattr(options, name), 1)
    if options.threads is not None:
        at_least("bench scaling --threads", options.threads, 1)
    asked = Asked(options.overrides, options.ranks, options.nodes, options.scaling.split(","))
    points = sizes.points(asked)
    config = points[0].plan.config
    every = repeats(points, options.repeats, options.out or OUT / "scaling")
    done = [found for one in every if (found := read(one, options.steps))]
    measured = {id(one.repeat) for one in done}
    left = [one for one in every if id(one) not in measured]
    on_cluster = scheduler_of(config.cluster) != "local"
    if options.submit and not on_cluster:
        raise UserError(
            "bench scaling --submit",
            f"has no effect: cluster {config.cluster.name} has no scheduler, and its sizes are measured at once",
            do="omit it",
        )
    threads = options.threads or _threads(points, config)
    if options.collect or not left:
        return _show(points, done, len(left), threads, options)
    if on_cluster and options.json:
        raise UserError(
            "bench scaling --json", "has no effect while jobs are submitted", use="it with --collect"
        )
    if on_cluster:
        return _launch(left, options)
    if any(point.size.nodes > 1 for point in points):
        raise UserError(
            "resources.nodes",
            f"needs a scheduler that starts ranks on other machines, and cluster {config.cluster.name} has none",
            value=max(point.size.nodes for point in points),
            use="1",
        )
    for number, one in enumerate(left, 1):
        size, batch = one.point.size, one.plan.config.training.global_batch_size
        what = f"{size.devices} ranks, batch {batch}, repeat {one.number}"
        print(f"{number} of {len(left)}: {what}", file=sys.stderr, flush=True)
        stopped = _measure(one, threads, options)
        found = read(one, options.steps)
        assert found, "it was written just now"
        done.append(found)
        if stopped and number < len(left):
            print(f"stopped: {len(left) - number} are left for the same command", file=sys.stderr)
            return EXIT_CONTINUE
    return _show(points, done, 0, threads, options)


def _threads(points: Sequence[Point], config: RunConfig) -> int | None:
    """Return the torch threads of a rank on a CPU; None on other devices.

    They are the same at all sizes: only then is a rank the same machine at all sizes.
    """
    if config.cluster.device.kind != "cpu":
        return None
    if scheduler_of(config.cluster) == "local":
        return max(1, cores.usable() // max(point.size.devices for point in points))
    return 1


def _measure(one: Repeat, threads: int | None, options: argparse.Namespace) -> bool:
    """Measure a repeat on this machine and write its record; return whether a signal asked to stop."""
    make_folder("bench scaling --out", one.folder)
    path = RunDir(one.folder).plan
    plan_file.write(one.plan, path)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        measured = train.measure(one.plan, Path(folder), options.steps, options.warmup, threads=threads)
    write(
        "train",
        [*_words(options, threads), "--plan", str(path)],
        train.table(one.plan, measured),
        train.summarize(one.plan, measured),
        units=plural(one.plan.unit),
        folder=one.folder,
    )
    return measured["asked to stop"]


def _words(options: argparse.Namespace, threads: int | None) -> list[str]:
    """Return the options of `slipway bench train` that measure the same."""
    words = ["--steps", str(options.steps), "--warmup", str(options.warmup)]
    return words if threads is None else [*words, "--threads", str(threads)]


def _launch(left: Sequence[Repeat], options: argparse.Namespace) -> int:
    busy = jobs.under_way(left)
    waiting = {id(one) for one in busy}
    missing = [one for one in left if id(one) not in waiting]
    config = left[0].plan.config
    verb = ["bench", "train", *_words(options, _threads([], config))]
    found = jobs.batches(missing, verb) if missing else []
    if busy:
        print(f"{len(busy)} measurements have a job that waits or runs", file=sys.stderr)
    jobs.launch(found, submitted=options.submit)
    say = "the same command with --collect shows what is measured"
    if found and not options.submit:
        say = "dry run: --submit submits what is on standard output; " + say
    print(say, file=sys.stderr)
    return EXIT_DONE


def _show(
    points: Sequence[Point],
    done: Sequence[Done],
    missing: int,
    threads: int | None,
    options: argparse.Namespace,
) -> int:
    """Print the table, write the JSON and the picture; return the exit code.

    Raises UserError if nothing is measured yet.
    """
    out = options.out or OUT / "scaling"
    if not done:
        raise UserError("bench scaling --collect", f"nothing is measured in {out} yet", do="measure first")
    plan = points[0].plan
    config, first = plan.config, done[0].record
    summary = table.Summary(
        model=config.model.name,
        parameters=plan.parameters,
        precision=config.training.precision,
        cluster=config.cluster.name,
        device=config.cluster.device.name,
        threads=threads,
        steps=options.steps,
        missing=missing,
        peak=first["summary"]["peak"],
        remark=table.remark(done, threads),
    )
    rows = table.rows_of(done)
    make_folder("bench scaling --out", out)
    record = publish(
        "scaling",
        options.argv,
        rows,
        summary,
        units=plural(plan.unit),
        as_json=options.json,
        folder=out,
        measured=first,
    )
    if not options.json:
        print_table([{"scaling": row.scaling, "devices": row.devices, **table.shares(row)} for row in rows])
    from slipway.bench.scaling.picture import draw

    picture = out / "bench-scaling.png"
    draw(rows, summary, record, picture)
    if not options.json:
        print(f"written   {out / 'bench-scaling.json'}, {picture}")
    return EXIT_DONE
