"""`slipway plan`: the plan of a configuration, as a table or as JSON."""

import argparse

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE
from slipway.plan.plan import make_plan


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Print the plan. Options: `json`; `ranks`, rows of the table of ranks (None: all)."""
    plan = make_plan(config)
    if getattr(options, "json", False):
        print(plan.model_dump_json(indent=1))
        return EXIT_DONE
    from slipway.plan.show import show

    show(plan, ranks=getattr(options, "ranks", 32))
    return EXIT_DONE
