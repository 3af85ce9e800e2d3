"""`python -m slipway.bench.gpu.child PART DEVICE FOUND`: one part, in the current folder, to the end or an error.

DEVICE: slipway.bench.gpu.device.Here as JSON. FOUND: the file for what the part finds. Exit code 0: it got to its end.
"""

import json
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from slipway.bench.gpu.device import Here
from slipway.bench.gpu.parts import BY_NAME
from slipway.bench.gpu.results import Found
from slipway.errors import EXIT_DONE, EXIT_FAULT, Problem
from slipway.ranks.local import die_with

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """The surroundings of a part."""

    here: Here
    folder: Path
    """The part's own, and empty: it is removed when the part has passed."""
    found: Found

    def sized(self, full: T, tiny: T) -> T:
        """Return the first on GPUs, the second in a rehearsal."""
        return tiny if self.here.rehearse else full


def main(words: list[str]) -> int:
    """Run the part and return the exit code."""
    name, here, path = words
    die_with(os.getppid())
    module, _, function = BY_NAME[name].run.partition(":")
    scene = Scene(Here(**json.loads(here)), Path.cwd(), Found(Path(path)))
    try:
        getattr(import_module(f"slipway.bench.gpu.{module}"), function)(scene)
    except Problem as error:
        scene.found.check("runs to its end", False, error)
        return EXIT_FAULT
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
