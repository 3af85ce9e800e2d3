"""`slipway bench NAME [options]`: runs one of the measurements."""

import argparse
from importlib import import_module


def run(options: argparse.Namespace) -> int:
    """Run the benchmark `action` and return its exit code."""
    return import_module(f"slipway.bench.{options.action}").run(options)
