"""`slipway bench NAME [options]`: which measurements there are, and the way to each."""

from collections.abc import Sequence
from importlib import import_module

from slipway.config.explain import nearest
from slipway.errors import EXIT_DONE, UserError

BENCHMARKS = {
    "train": "tokens/s and MFU of a configuration on all its ranks, and where a step's time goes",
    "kernels": "each fused operator and backend at a model's shapes, against the device's ceiling",
    "training": "one rank's token rate against a plain PyTorch GPT of the same shape",
    "data": "tokens per second per core of `slipway data` against one document at a time",
    "checkpoint": "how long training stands still for a checkpoint, written beside it or waited for",
    "image": "size of the container image, a cached rebuild, the start of a command in Apptainer",
    "launch": "seconds to plan and render the largest runs, and a sweep of a thousand jobs",
    "startup": "seconds from a command to its answer, and to the first training step of the demo",
}


def main(argv: Sequence[str]) -> int:
    """Run one benchmark, or list them. Returns the exit code."""
    name, *options = list(argv) or ["--help"]
    if name in ("--help", "-h"):
        print(usage())
        return EXIT_DONE
    if name not in BENCHMARKS:
        raise UserError(f"bench {name}", "no such benchmark", do=nearest(name, BENCHMARKS))
    return import_module(f"slipway.bench.{name}").main(options)


def usage() -> str:
    """The text of `slipway bench --help`."""
    lines = [f"  {name:<10} {text}" for name, text in BENCHMARKS.items()]
    return "\n".join(
        ["slipway bench: measure this machine against references", ""]
        + [
            "usage: slipway bench NAME [options]     (NAME --help: its options; --json: for programs)",
            "",
            *lines,
        ]
    )
