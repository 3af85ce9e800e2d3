"""`slipway plan`: prints the plan of a configuration, as a table or as JSON."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from slipway import console
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE
from slipway.plan import plan_file
from slipway.plan.kept import plan_of, stay
from slipway.plan.plan import Plan
from slipway.plan.summary import summary


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Print the plan of a configuration and return the exit code.

    Options: `json`; `ranks`, rows of the table of ranks (None: all).
    """
    return _print(plan_of(config), options)


def run_file(path: Path, changed: Sequence[str], options: argparse.Namespace) -> int:
    """Print the plan in a plan.json, changed by KEY=JSON words, and return the exit code."""
    return _print(stay(plan_file.read(path, changed)), options)


def _print(plan: Plan, options: argparse.Namespace) -> int:
    if getattr(options, "json", False):
        console.write(plan_file.to_text(plan, summary(plan)))
        return EXIT_DONE
    from slipway.plan.show import show

    show(plan, ranks=getattr(options, "ranks", 32))
    return EXIT_DONE
