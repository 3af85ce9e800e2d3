"""`slipway data`: prepare what training reads."""

import argparse

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.errors import EXIT_DONE


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Prepare the data, or say that it is prepared, and print what there is."""
    print(kind_of(config).prepare(config, progress=True))
    return EXIT_DONE
