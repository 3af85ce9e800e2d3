"""What layers of both stacks really keep until their backward pass (see kept_bytes.py) is what the plan says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from presets import preset
from slipway.config.compose import compose
from slipway.models.mae.share import decoder_share, encoder_share
from slipway.models.transformer.activations import layer_bytes
from training import SMALL, layout

pytestmark = pytest.mark.slow

DRIVE = Path(__file__).parents[2] / "kept_bytes.py"
CLOSE = 0.025  # relative; the rest is norms' statistics
BASE = [
    *(*preset("earth_demo"), "cluster=local", *SMALL[-3:], "training.steps=4", "checkpoint.interval=0"),
    *("model.image_size=32", "model.patch_size=8", "model.num_layers=2", "validation.steps=0"),
]
SELECTIVE = "training.recompute=selective"
ALONE = [*layout(ranks=1, mbs=1), "training.global_batch_size=2"]
CASES = {
    "alone": ALONE,
    "bf16": [*ALONE, *layout(precision="bf16")],
    "by_rule": [*ALONE, SELECTIVE],
    "mlp": [*ALONE, SELECTIVE, "training.recompute_modules=[norm,mlp]"],
    "tp2": [*layout(ranks=2, tp=2, mbs=1), "training.global_batch_size=2"],
    # 17 and 65 tokens, padded to 18 and 66, or to 20 and 68
    "tp2_sp": [*layout(ranks=2, tp=2, sp=True, mbs=1), "training.global_batch_size=2"],
    "tp4_sp_full": [*layout(ranks=4, tp=4, sp=True, mbs=1, recompute="full"), "training.global_batch_size=2"],
}
STACKS = {"encoder": (encoder_share, "1"), "decoder": (decoder_share, "-1")}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Bytes by stack and run, from one process for each stack."""
    folder, found = tmp_path_factory.mktemp("kept"), {}
    for stack, (_, layer) in STACKS.items():
        result = folder / f"{stack}.json"
        done = subprocess.run(
            [sys.executable, DRIVE, result, "cpu", layer],
            input=json.dumps({name: [*BASE, *words] for name, words in CASES.items()}),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        found[stack] = json.loads(result.read_text())
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", CASES)
def test_a_layer_keeps_what_the_plan_says(kept: dict[str, dict[str, Any]], stack: str, name: str) -> None:
    measured, config = kept[stack][name], compose([*BASE, *CASES[name]])
    assert isinstance(measured, int), measured["error"]
    share = STACKS[stack][0](config, config.parallelism)
    assert layer_bytes(share, share.recomputed) == pytest.approx(measured, rel=CLOSE)
