"""`slipway kernels`: each operator, its backends on this machine, and the one a configuration gets."""

import argparse
import json

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE
from slipway.kernels import fp8
from slipway.kernels.choice import Choice, Model, backend_troubles, choose
from slipway.kernels.probe import Machine, machine
from slipway.registry import FAMILIES


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Print the table, or JSON with the option `json`; return the exit code.

    Raises UserError if a requested backend cannot be used here.
    """
    here = machine(config.cluster.device.kind)
    model = FAMILIES.part(config.model.family, "family").FAMILY
    rows = [_row(choice, config, here, model) for choice in choose(config, here, model)]
    if getattr(options, "json", False):
        print(json.dumps({"kernels": rows}, indent=1))
        return EXIT_DONE

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Kernels on {config.cluster.device.kind}", title_justify="left", box=SIMPLE_HEAD)
    for column in ("operator", "chosen", "why", "usable here", "not usable"):
        table.add_column(column, overflow="fold")
    for row in rows:
        troubles = "; ".join(f"{name}: {why}" for name, why in row["troubles"].items())
        table.add_row(
            row["operator"], row["backend"], escape(row["why"]), ", ".join(row["usable"]), escape(troubles)
        )
    Console(highlight=False).print(table)
    return EXIT_DONE


def _row(choice: Choice, config: RunConfig, here: Machine, model: Model) -> dict:
    if choice.operator == "fp8" and here.compute_capability is not None:
        troubles = fp8.troubles(here.compute_capability)
    else:
        troubles = backend_troubles(choice.operator, config, here, model)
    return {
        **choice._asdict(),
        "usable": [name for name, trouble in troubles.items() if trouble is None],
        "troubles": {name: trouble for name, trouble in troubles.items() if trouble is not None},
    }
