"""FLOP of a sample against torch's count of a step of the built model, and against what is known of published runs."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import warm
from slipway.config.compose import compose
from slipway.models import family
from training import SMALL

DRIVE = Path(__file__).parents[2] / "flops_of_step.py"
BASE = [
    *("model=earth_demo", "data=any_imagery", "cluster=local", "parallelism=single", *SMALL[-3:]),
    *("model.image_size=32", "model.num_layers=2", "training.steps=4", "validation.steps=0"),
    *("training.global_batch_size=6", "training.micro_batch_size=3", "checkpoint.interval=0"),
    "kernels.product=torch",  # others are not in torch's count
]
CASES = {
    "plain": [],
    "other": [
        *(
            "model.patch_size=4",
            "model.patch_frames=2",
            "model.mask_ratio=0.6",
            "model.metadata=[]",
            "model.metadata_drop=0",
        ),
        *("model.ffn_hidden_size=160", "model.decoder_hidden_size=96", "model.decoder_num_attention_heads=6"),
        *("model.decoder_num_layers=3", "model.decoder_ffn_hidden_size=48", "model.normalize_patches=true"),
    ],
    "full": ["training.recompute=full"],
    "selective": ["training.recompute=selective"],
    "mlp": ["training.recompute=selective", "training.recompute_modules=[norm,mlp]"],
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = tmp_path_factory.mktemp("flops") / "result.json"
    cases = {name: [*BASE, *words] for name, words in CASES.items()}
    done = warm.run(
        [sys.executable, str(DRIVE), str(result)], input=json.dumps(cases), capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


@pytest.mark.parametrize("name", CASES)
def test_what_the_built_model_does(counted: dict[str, Any], name: str) -> None:
    assert isinstance(counted[name], int), counted[name]["error"]
    config = compose([*BASE, *CASES[name]])
    sample = family(config).sample(config)
    assert counted[name] == 6 * (sample.flops + sample.recomputed_flops)


@pytest.mark.parametrize(("model", "flops"), [("prithvi_eo2_300m", 8.9e20), ("prithvi_eo2_600m", 2.05e21)])
def test_published_runs(model: str, flops: float) -> None:
    """400 epochs of 4.2 million samples (arXiv 2412.02732), by two operations per weight and token."""
    config = compose([f"model={model}", "data=any_imagery", "cluster=juwels_booster"])
    assert 400 * 4.2e6 * family(config).sample(config).flops == pytest.approx(flops, rel=0.02)
