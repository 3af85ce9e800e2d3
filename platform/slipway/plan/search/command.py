"""`slipway plan search`: prints all layouts that fit, best first."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from slipway import console
from slipway.config import hydra_app
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.plan.elastic import on_machines
from slipway.plan.memory import device_bytes
from slipway.plan.search.request import read
from slipway.plan.search.search import Found, Layout, arrangements, ranked, search
from slipway.plan.search.shortage import no_layout
from slipway.plan.search.space import Allowed
from slipway.plan.search.words import as_json

SHOWN = 10


def run_words(words: Sequence[str], options: argparse.Namespace) -> int:
    """Search the layouts that the command line describes and return the exit code."""
    request = read(words)

    def task(config: RunConfig) -> int:
        shapes = request.shapes(config)
        return run([on_machines(config, *shape) for shape in shapes], request.allowed, options)

    return hydra_app.run(request.words, task, trains=False)


def run(configs: Sequence[RunConfig], allowed: Allowed, options: argparse.Namespace) -> int:
    """Search these configurations, which differ only in their devices; show all layouts; return the exit code.

    Raises UserError if no layout fits, or the picture cannot be written.
    """
    found = [_search(config, allowed, number, len(configs)) for number, config in enumerate(configs)]
    layouts = ranked([layout for one in found for layout in one.layouts], options.by)
    if not layouts:
        raise no_layout(configs[-1], found[-1], allowed)
    if options.picture:
        _draw(layouts, configs[0], options.picture)
    if options.json:
        console.write(_json(layouts, found, configs[0], options))
        return EXIT_DONE

    from slipway.plan.search.show import show

    show(
        layouts,
        list(zip(configs, found, strict=True)),
        SHOWN if options.top == 0 else options.top,
        options.by,
        every=options.all,
    )
    if options.picture:
        print(f"picture {options.picture}")
    return EXIT_DONE


def _search(config: RunConfig, allowed: Allowed, number: int, count: int) -> Found:
    if count > 1 and sys.stderr.isatty():
        devices = config.resources.nodes * config.resources.devices_per_node
        print(
            f"searching layouts on {devices} devices ({number + 1} of {count})", file=sys.stderr, flush=True
        )
    return search(config, allowed)


def _json(
    layouts: list[Layout], found: Sequence[Found], config: RunConfig, options: argparse.Namespace
) -> str:
    device = device_bytes(config)
    rejected = sum((one.rejected for one in found), start=Counter[str]())
    rows = [(layout, 1) for layout in layouts] if options.all else arrangements(layouts)
    shown = rows[: options.top] if options.top else rows
    outcome = {
        "model": config.model.name,
        "cluster": config.cluster.name,
        "by": options.by,
        "enumerated": sum(one.enumerated for one in found),
        "fit": len(layouts),
        "layouts": [as_json(layout, device) | {"variants": count} for layout, count in shown],
        "rejected": dict(rejected.most_common()),
    }
    return json.dumps(outcome, indent=1) + "\n"


def _draw(layouts: list[Layout], config: RunConfig, path: Path) -> None:
    from slipway.plan.search.picture import draw

    if layouts[0].seconds is None:
        raise UserError(
            "--picture",
            f"has no step time to show: cluster {config.cluster.name} states no {config.training.precision} peak",
            do=f"set cluster.device.peak_tflops_{config.training.precision}, or omit it",
        )
    try:
        draw(layouts, config, path)
    except OSError as error:
        raise UserError(
            "--picture",
            f"cannot be written: {error.strerror}",
            value=path,
            do="name a file in a directory that you can write to",
        ) from error
