"""A checkpoint in the trainer's own modules, in one process: features of all patches, and the loss under the mask.

Reads {run_dir, outputs} as JSON from standard input; writes inputs and outputs as arrays for in_terratorch.py.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slipway.checkpoint import store
from slipway.config.schema import RunConfig
from slipway.data.randomness import SEED_FIELD
from slipway.models import network_of
from slipway.models.mae import masks
from slipway.models.mae.config import Config, mae_of
from slipway.plan import plan_file
from slipway.run_dir import RunDir
from slipway.runs.alone import alone, world

SAMPLES = 2


def inputs_of(model: Config) -> dict[str, Any]:
    """Pixels, all of them known, as HLS holds them, with what the model is told besides."""
    numbers = np.random.default_rng(7)
    shape = (SAMPLES, model.num_frames, model.num_bands, model.image_size, model.image_size)
    inputs = {
        "pixels": numbers.integers(-50, 6000, shape).astype("int16"),
        "mean": numbers.uniform(1000, 2800, model.num_bands).astype("float32"),
        "std": numbers.uniform(1000, 2300, model.num_bands).astype("float32"),
    }
    if "time" in model.metadata:
        dates = [numbers.integers(2015, 2026, shape[:2]), numbers.integers(1, 366, shape[:2])]
        inputs["dates"] = np.stack(dates, -1).astype("float32")
    if "location" in model.metadata:
        inputs["location"] = numbers.uniform(-80, 80, (SAMPLES, 2)).astype("float32")
    return inputs


@torch.no_grad()
def main() -> None:
    """Compute once."""
    request: dict[str, Any] = json.load(sys.stdin)
    run_dir = Path(request["run_dir"])
    config = alone(plan_file.read_config(RunDir(run_dir).plan), "cpu")
    checkpoint = store.newest_good(run_dir).path
    assert checkpoint
    with world(config) as here:
        _compute(config, here.trained(checkpoint), request["outputs"])


def _compute(config: RunConfig, module: Any, outputs: str) -> None:
    model = mae_of(config)
    inputs = inputs_of(model)
    batch = {name: torch.from_numpy(values) for name, values in inputs.items()}
    for name in ("mean", "std"):
        batch[name] = batch[name].expand(SAMPLES, -1)
    batch[SEED_FIELD] = torch.tensor([3, 2**40 + 5])
    mask = masks.draw(batch[SEED_FIELD], model.num_patches, model.num_visible)
    output, loss_of = network_of(config).forward(config, batch, module, None)
    total, count, _ = loss_of(output)
    every = torch.arange(model.num_patches).expand(SAMPLES, -1)

    def encoded(seen: masks.Mask) -> torch.Tensor:
        embedded = module._embedded(batch, seen)
        return module.encoder(hidden_states=embedded, attention_mask=None).transpose(0, 1)

    np.savez(outputs + "-inputs.npz", visible=mask.visible.numpy(), **inputs)
    np.savez(
        outputs + ".npz",
        features=encoded(masks.Mask(every, every[:, :0], every[:, :0])).numpy(),
        latent=encoded(mask).numpy(),
        hidden=mask.hidden.numpy(),
        loss=(total / count).numpy(),
    )


if __name__ == "__main__":
    main()
