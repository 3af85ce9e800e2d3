"""Muon against an implementation that shares nothing with it, and whose every fault would be noticed."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from breadth import some
from reference import muon, plain, stored
from reference.samples import batches, short_documents
from reference.test_reference import MODELS, SETTINGS, THREE_D, TRAINING
from training import layout, train_in_one_process, training_lines

STEPS = 10
MOMENTUM = 0.9
MUON = ["optimizer=muon", f"optimizer.momentum={MOMENTUM}"]
TRAINED = [word for word in TRAINING if not word.startswith("training.steps")] + [f"training.steps={STEPS}"]
RUNS = {
    "gpt, original": ["optimizer.adjust_lr_fn=original", *layout(ranks=1)],
    "llama, 3D": THREE_D,
    "mixture, one rank": layout(ranks=1),
    "mixture, 3D": [*THREE_D, *layout(ep=2)],
    "mixture, one by one": ["kernels.moe=unfused", *layout(ranks=2)],
}
RUNS = some(RUNS, ["gpt, original", "llama, 3D", "mixture, one rank"], ["mixture, 3D"])

LOSS, GRADIENT_NORM = 1e-6, 1e-5  # relative
# A singular value of nearly zero is enlarged up to 3.4445^5 = 485 times, and what fp32 has rounded off it with it.
WEIGHT = 2e-5  # absolute, where the largest has moved by 2e-2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return short_documents(tmp_path_factory.mktemp("muon-data"))


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directories, by name."""
    folder = tmp_path_factory.mktemp("muon")
    jobs = [
        [*MODELS[_family(name)][0], *MUON, *TRAINED, *data, *words, f"run.dir={_place(folder, name)}"]
        for name, words in RUNS.items()
    ]
    assert train_in_one_process(jobs, folder / "codes.json") == [0] * len(jobs)
    return folder


Trained = tuple[list[plain.Line], plain.Weights]


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]) -> Callable[..., Trained]:
    """Train by plain PyTorch from the checkpoint before the first step, with the runs' samples."""

    @cache
    def train(name: str, fault: str = "") -> Trained:
        overrides, model = MODELS[_family(name)]
        samples = batches([*overrides, *TRAINED, *data], STEPS)
        adjust = "original" if "original" in name else "match_rms_adamw"
        own = muon.Muon(
            model.groups,
            model.heads,
            adjust,
            MOMENTUM,
            SETTINGS.weight_decay,
            gated=_family(name) != "gpt",
            fault=fault,
        )
        settings = replace(SETTINGS, steps=STEPS)
        return plain.train(model, _weights(_place(folder, name), 0), samples, settings, own=own)

    return train


def _family(name: str) -> str:
    return name.split(",")[0]


def _place(folder: Path, name: str) -> Path:
    return folder / name.replace(", ", "-").replace(" ", "-")


def _weights(run_dir: Path, step: int) -> plain.Weights:
    return stored.weights(run_dir / "checkpoints" / f"step-{step:08d}")


def agree(run_dir: Path, trained: Trained) -> None:
    """Assert that a run has done what the reference did."""
    lines, expected = trained
    got = training_lines(run_dir)
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(got, lines, strict=True):
        assert one["loss"] == pytest.approx(other.loss, rel=LOSS), f"loss of step {one['step']}"
        close = pytest.approx(other.grad_norm, rel=GRADIENT_NORM)
        assert one["grad_norm"] == close, f"gradient norm of step {one['step']}"
    start, end = _weights(run_dir, 0), _weights(run_dir, STEPS)
    assert end.keys() == expected.keys()
    for key, weight in expected.items():
        off = float((end[key] - weight).abs().max())
        assert off < WEIGHT, f"{key}: {off:.1e} of {float((weight - start[key]).abs().max()):.1e}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_it_trains_as_plain_pytorch_does(folder: Path, reference: Callable[..., Trained], name: str) -> None:
    agree(_place(folder, name), reference(name))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", muon.FAULTS)
def test_each_planted_fault_is_noticed(folder: Path, reference: Callable[..., Trained], fault: str) -> None:
    """The fault is planted in the reference: the two disagree as if it were in the trainer."""
    with pytest.raises(AssertionError):
        agree(_place(folder, "mixture, one rank"), reference("mixture, one rank", fault))
