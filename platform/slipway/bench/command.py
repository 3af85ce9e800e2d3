"""`slipway bench NAME [options]`: the way to each measurement."""

import argparse
from importlib import import_module


def run(options: argparse.Namespace) -> int:
    """Run the benchmark `action`. Returns the exit code."""
    return import_module(f"slipway.bench.{options.action}").run(options)
