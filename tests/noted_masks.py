"""Runs trainings as runner.py does, and notes each mask that any of their ranks draws.

A file for each process, RUN.DIR/masks/PID: a JSON line [seed of the sample, its visible patches] for each mask.
"""

import json
import os
from pathlib import Path
from typing import Any

import runner
from slipway.models.mae import masks

DRAW, RUN = masks.draw, runner.run
folder = Path()


def noted(seeds: Any, patches: int, visible: int) -> masks.Mask:
    """Draw the masks, and note them."""
    mask = DRAW(seeds, patches, visible)
    with (folder / str(os.getpid())).open("a") as file:
        for line in zip(seeds.tolist(), mask.visible.tolist(), strict=True):
            file.write(json.dumps(line) + "\n")
    return mask


def run(config: Any) -> int:
    """Train, with a folder for what is noted."""
    global folder
    folder = Path(config.run.dir) / "masks"
    folder.mkdir(parents=True, exist_ok=True)
    return RUN(config)


if __name__ == "__main__":
    masks.draw, runner.run = noted, run
    runner.main()
