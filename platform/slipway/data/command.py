"""`slipway data`: prepare the data that training reads."""

import argparse

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.errors import EXIT_DONE


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Prepare the data unless that is done, and print what is prepared. Returns the exit code."""
    print(kind_of(config).prepare(config, progress=True))
    return EXIT_DONE
