"""Kinds of attention on every layout against plain PyTorch in float64, all of them in one model.

Normalized queries and keys, biases of Q, K and V alone, layers with a sliding window mixed with layers that see all,
YaRN, and tied tables: five layers, which no two stages share evenly.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import breadth
from breadth import some
from reference import plain, stored
from reference.samples import batches, short_documents
from reference.test_reference import SETTINGS, STEPS, TRAINING
from training import layout, train_in_one_process, training_lines

KINDS = ["model=demo", "model.num_layers=5", "model.hidden_size=32", "model.num_attention_heads=4"]
KINDS += ["model.vocab_size=257", "model.max_position_embeddings=32", "model.ffn_hidden_size=64"]
KINDS += ["model.kv_channels=16", "model.num_query_groups=2", "model.rotary_base=10000"]
KINDS += ["model.normalization=RMSNorm", "model.activation=swiglu", "model.add_bias_linear=false"]
KINDS += ["model.qk_layernorm=true", "model.add_qkv_bias=true"]
KINDS += ["model.window_size=6", "model.window_attn_skip_freq=3"]
KINDS += [
    "model.rope_scaling={type:yarn,factor:4,original_max_position_embeddings:8,beta_fast:2,beta_slow:0.25}"
]
MODEL = plain.Model(
    layers=5,
    vocabulary=257,
    heads=4,
    groups=2,
    norm="rms",
    rotary_base=10000,
    yarn=(4, 8, 2, 0.25),
    window=6,
    full_every=3,
)
APART = ["data.reset_attention_mask=true"]
LAYOUTS = {
    "one rank": layout(ranks=1),
    "tp2": layout(ranks=2, tp=2),
    "tp2 sp full": layout(ranks=2, tp=2, sp=True, recompute="full"),
    "pp2 uneven mbs2": layout(ranks=2, pp=2, mbs=2),
    "pp2 interleaved uneven": ["parallelism.pipeline_layout=Ett|t|t|tL", *layout(ranks=2, pp=2, vpp=2)],
    "cp2": layout(ranks=2, cp=2),
    "dp2 distopt": layout(ranks=2, distopt=True),
    "tp2 pp2 dp2 sp distopt": layout(ranks=8, tp=2, pp=2, sp=True, distopt=True),
    "tp2 cp2 dp2 sp selective": layout(ranks=8, tp=2, cp=2, sp=True, distopt=True, recompute="selective"),
    "pp2 cp2": layout(ranks=4, pp=2, cp=2),
    "zero3": ["parallelism=zero3", *layout(ranks=2)],
    "zero3 tp2": ["parallelism=zero3", *layout(ranks=4, tp=2)],
    "zero3 tp2 sp": ["parallelism=zero3", *layout(ranks=4, tp=2, sp=True)],
    "apart": [*APART, *layout(ranks=1)],
    "apart cp2": [*APART, *layout(ranks=2, cp=2)],
    "apart pp2 tp2": [*APART, *layout(ranks=4, pp=2, tp=2)],
}
LAYOUTS = some(
    LAYOUTS,
    ["one rank", "pp2 interleaved uneven", "tp2 cp2 dp2 sp selective", "zero3 tp2", "apart cp2"]
    if breadth.SECOND
    else ["one rank", "tp2", "cp2", "tp2 pp2 dp2 sp distopt", "zero3 tp2", "tp2 sp full", "apart cp2"],
)
LOSS, GRADIENT_NORM, WEIGHT = 1e-6, 1e-5, 2e-5  # the last absolute, where the largest has moved by 7e-3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return short_documents(tmp_path_factory.mktemp("kinds-data"))


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The run directories, by name, of the layouts that a selected test asks for."""
    selected = {item.name for item in request.session.items if item.path == request.path}
    asked = [name for name in LAYOUTS if name == "one rank" or any(f"[{name}]" in test for test in selected)]
    folder = tmp_path_factory.mktemp("kinds")
    jobs = [[*KINDS, *TRAINING, *data, *LAYOUTS[name], f"run.dir={_place(folder, name)}"] for name in asked]
    codes = train_in_one_process(jobs, folder / "codes.json")
    assert codes == [0] * len(jobs), dict(zip(asked, codes, strict=True))
    return folder


Trained = tuple[list[plain.Line], plain.Weights]


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]) -> Callable[..., Trained]:
    """Train by plain PyTorch from the checkpoint before the first step, with the runs' samples."""

    @cache
    def train(apart: bool, fault: str = "") -> Trained:
        samples = batches([*KINDS, *TRAINING, *data, *(APART if apart else [])], STEPS)
        return plain.train(MODEL, _weights(folder, "one rank", 0), samples, SETTINGS, fault=fault)

    return train


def _place(folder: Path, name: str) -> Path:
    return folder / name.replace(" ", "-")


def _weights(folder: Path, name: str, step: int) -> plain.Weights:
    return stored.weights(_place(folder, name) / "checkpoints" / f"step-{step:08d}")


def agree(folder: Path, name: str, trained: Trained) -> None:
    """Assert that a run has done what the reference did."""
    lines, expected = trained
    got = training_lines(_place(folder, name))
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(got, lines, strict=True):
        assert one["loss"] == pytest.approx(other.loss, rel=LOSS), f"loss of step {one['step']}"
        assert one["grad_norm"] == pytest.approx(other.grad_norm, rel=GRADIENT_NORM), f"norm of {one['step']}"
    end = _weights(folder, name, STEPS)
    assert end.keys() == expected.keys()
    off = {key: float((end[key] - weight).abs().max()) for key, weight in expected.items()}
    worst = max(off, key=lambda key: off[key])
    assert off[worst] < WEIGHT, f"{worst}: {off[worst]:.1e}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_trains_as_plain_pytorch_does(
    folder: Path, reference: Callable[..., Trained], name: str
) -> None:
    agree(folder, name, reference("apart" in name))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name", [name for name in LAYOUTS if name in ("one rank", "cp2", "tp2 cp2 dp2 sp selective")]
)
def test_a_window_that_is_ignored_is_noticed(
    folder: Path, reference: Callable[..., Trained], name: str
) -> None:
    with pytest.raises(AssertionError):
        agree(folder, name, reference(False, fault=plain.FAULTS_OF_ATTENTION[0]))


@pytest.mark.timeout(900)
def test_every_weight_of_attention_is_trained(folder: Path, reference: Callable[..., Trained]) -> None:
    """Biases that start at zero and norms that start at one are no longer what they were."""
    start, end = _weights(folder, "one rank", 0), _weights(folder, "one rank", STEPS)
    vectors = [key for key in start if key.endswith(("q_norm.weight", "k_norm.weight", "qkv.bias"))]
    assert len(vectors) == 3 * MODEL.layers
    assert not any(key.endswith(("proj.bias", "in.bias", "out.bias")) for key in start)
    for key in vectors:
        assert float((end[key] - start[key]).abs().max()) > 1e-4, key


if not breadth.ALL:
    assert "one rank" in LAYOUTS  # from whose first checkpoint the reference starts
