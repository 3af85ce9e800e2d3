"""Multi-token prediction against plain PyTorch: the losses of ten steps, gradient norms and every weight.

Documents are short, apart, and end everywhere, so that targets are masked in the midst of samples.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from breadth import some
from reference import plain, prediction, stored
from reference.samples import batches, short_documents
from reference.test_reference import LLAMA, TRAINING
from training import layout, train_in_one_process, training_lines

STEPS = 10
FACTOR = 0.3
SETTINGS = plain.Settings(STEPS, 2e-3, 2e-4, 2, 0.5, 0.9, 0.95, 1e-6, 1.0)  # of TRAINING
OF_RUN = [word for word in TRAINING if not word.startswith("training.steps")] + [f"training.steps={STEPS}"]
BASE = [*LLAMA, "model.rope_scaling=null", f"model.mtp_loss_scaling_factor={FACTOR}"]
GPT = [*BASE, "model.normalization=LayerNorm", "model.activation=gelu", "model.add_bias_linear=true"]
TIED = "model.untie_embeddings_and_output_weights=false"
MODEL: Any = dict(layers=2, vocabulary=257, heads=4, groups=2, rotary_base=500000)
MODELS = {
    "llama, 1 depth": ([*BASE, "model.mtp_num_layers=1"], plain.Model(**MODEL, norm="rms"), 1),
    "llama, 2 depths": ([*BASE, "model.mtp_num_layers=2"], plain.Model(**MODEL, norm="rms"), 2),
    "gpt, 2 depths": ([*GPT, TIED, "model.mtp_num_layers=2"], plain.Model(**MODEL), 2),
}
APART = ["data.reset_attention_mask=true"]
RUNS = {
    "llama, 1 depth, one rank": layout(ranks=1),
    "llama, 2 depths, one rank": layout(ranks=1),
    "llama, 2 depths, documents": [*APART, *layout(ranks=1)],
    "llama, 2 depths, 3D": [*APART, *layout(ranks=8, tp=2, pp=2, sp=True, distopt=True)],
    "llama, 2 depths, CP": [*APART, *layout(ranks=2, cp=2)],
    "gpt, 2 depths, one rank": layout(ranks=1),
    "gpt, 2 depths, 3D": layout(ranks=8, tp=2, pp=2, sp=True, distopt=True),
}
RUNS = some(
    RUNS,
    ["llama, 2 depths, documents", "gpt, 2 depths, 3D"],
    second=["llama, 1 depth, one rank", "llama, 2 depths, CP"],
)
LOSS, GRADIENT_NORM = 1e-6, 1e-6  # relative
WEIGHT = 1e-5  # absolute, where the largest has moved by 1e-2

Trained = tuple[list[plain.Line], plain.Weights, list[list[float]]]


def _fresh(words: list[str]) -> list[str]:
    """The last word for each field: Hydra takes none twice."""
    return list({word.split("=", 1)[0]: word for word in words}.values())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return short_documents(tmp_path_factory.mktemp("prediction-data"))


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directories, by name."""
    folder = tmp_path_factory.mktemp("prediction")
    jobs = [
        [*_fresh([*MODELS[_model(name)][0], *OF_RUN, *data, *of]), f"run.dir={_place(folder, name)}"]
        for name, of in RUNS.items()
    ]
    codes = train_in_one_process(jobs, folder / "codes.json")
    assert codes == [0] * len(jobs), codes
    return folder


def _model(name: str) -> str:
    return name.rsplit(",", 1)[0]


def _place(folder: Path, name: str) -> Path:
    return folder / name.replace(", ", "-").replace(" ", "-")


def _checkpoint(folder: Path, name: str, step: int) -> Path:
    return _place(folder, name) / "checkpoints" / f"step-{step:08d}"


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]) -> Callable[..., Trained]:
    """Train the same in plain PyTorch, from the checkpoint before the first step; `told` are the depths' losses."""

    @cache
    def train(name: str, fault: str = "") -> Trained:
        overrides, model, depths = MODELS[_model(name)]
        apart = APART if set(APART) <= set(RUNS[name]) else []
        samples = batches(_fresh([*overrides, *OF_RUN, *data, *apart]), STEPS)
        told: list[list[float]] = []

        def loss_of(seen: plain.Weights, batch: plain.Batch) -> tuple[torch.Tensor, torch.Tensor]:
            (own, *ahead), (tokens, *targets) = prediction.losses(model, seen, batch, depths, fault)
            told.append([sum_.item() / number for sum_, number in zip(ahead, targets, strict=True)])
            each = targets if fault == "means are of each depth's own targets" else [tokens] * depths
            more = sum(sum_ / number for sum_, number in zip(ahead, each, strict=True))
            return own / tokens, own / tokens + FACTOR / depths * more

        start = stored.weights(_checkpoint(folder, name, 0))
        return *plain.optimize(loss_of, start, samples, SETTINGS), told

    return train


def agree(folder: Path, name: str, trained: Trained) -> None:
    """Assert that a run has done what the reference did."""
    lines, expected, told = trained
    got = training_lines(_place(folder, name))
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other, ahead in zip(got, lines, told, strict=True):
        assert one["loss"] == pytest.approx(other.loss, rel=LOSS), f"loss of step {one['step']}"
        assert list(one["measures"].values()) == pytest.approx(ahead, rel=LOSS), f"step {one['step']}"
        close = pytest.approx(other.grad_norm, rel=GRADIENT_NORM)
        assert one["grad_norm"] == close, f"gradient norm of step {one['step']}"
    end = stored.weights(_checkpoint(folder, name, STEPS))
    assert end.keys() == expected.keys()
    for key, weight in expected.items():
        off = float((end[key] - weight).abs().max())
        assert off < WEIGHT, f"{key}: {off:.1e}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RUNS)
def test_it_predicts_as_plain_pytorch_does(
    folder: Path, reference: Callable[..., Trained], name: str
) -> None:
    agree(folder, name, reference(name))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", prediction.FAULTS)
def test_each_planted_fault_is_noticed(folder: Path, reference: Callable[..., Trained], fault: str) -> None:
    name = "llama, 2 depths, documents"
    with pytest.raises(AssertionError):
        agree(folder, name, reference(name, fault))


@pytest.mark.timeout(900)
def test_initial_weights_have_the_stated_spread(folder: Path) -> None:
    """Norms at one, the projection as other matrices, outputs of attention and MLP narrower (GPT-2)."""
    weights = stored.weights(_checkpoint(folder, "llama, 2 depths, documents", 0))
    own = prediction.part(weights, "mtp.0.")
    assert all(torch.equal(own[name], torch.ones_like(own[name])) for name in own if "norm" in name)
    for name, spread in (
        ("project", 0.02),
        ("qkv.weight", 0.02),
        ("proj.weight", 0.01),
        ("out.weight", 0.01),
    ):
        few = 4 / (2 * own[name].numel()) ** 0.5
        assert float(own[name].square().mean().sqrt()) == pytest.approx(spread, rel=few), name
