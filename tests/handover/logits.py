"""Logits of runs' first checkpoints by the trainer's own modules, in one process.

Reads {runs: {name: folder}, tokens: file, logits: file} as JSON from standard input.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from slipway.checkpoint import store
from slipway.models.gpt.config import gpt_of
from slipway.plan import plan_file
from slipway.run_dir import RunDir
from slipway.runs.alone import alone, world


@torch.no_grad()
def main() -> None:
    """Compute once."""
    request: dict[str, Any] = json.load(sys.stdin)
    tokens = torch.load(request["tokens"], weights_only=True)
    found = {}
    for name, folder in request["runs"].items():
        config = alone(plan_file.read_config(RunDir(Path(folder)).plan), "cpu")
        with world(config) as here:
            module: Any = here.trained(store.complete(Path(folder))[0])
            positions = torch.arange(tokens.shape[1]).expand_as(tokens)
            logits = module(tokens, positions, None)
        found[name] = logits[..., : gpt_of(config).vocab_size].clone()
        assert (logits[..., gpt_of(config).vocab_size :] < -1e38).all(), "padding has no logits"
    torch.save(found, request["logits"])


if __name__ == "__main__":
    main()
