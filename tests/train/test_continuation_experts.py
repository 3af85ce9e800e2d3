"""A mixture that stops and continues is the one that did not stop, the bias of its router included."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributed.checkpoint import FileSystemReader

import breadth
from breadth import some
from reference import stored
from training import layout, lines_of, training_lines

pytestmark = pytest.mark.slow  # `make test-py312` runs it; on 3.11 faults/test_kill.py has a bias

STEPS, HALF = (8, 4) if breadth.ALL else (6, 3)
RATE = 0.003  # of the bias: enough to change who visits whom within a few steps
MIXTURE = ["model.num_moe_experts=4", "model.moe_router_topk=2", "model.add_bias_linear=false"]
MIXTURE += [
    "model.activation=swiglu",
    "model.moe_aux_loss_coeff=0",
    "model.moe_router_load_balancing_type=none",
]
MIXTURE += ["model.moe_router_score_function=sigmoid", "model.moe_router_enable_expert_bias=true"]
MIXTURE += [f"model.moe_router_bias_update_rate={RATE}", "model.first_k_dense_replace=1"]
BIAS = "decoder.layers.{}.mlp.router.expert_bias"
LAYERS = (1, 2, 3)
FIRST = {
    "pp2_ep2": layout(ranks=4, pp=2, ep=2, distopt=True),
    # so many tokens that bf16 cannot count them
    "bf16": [*layout(ranks=2, ep=2, distopt=True, precision="bf16", mbs=4), "training.global_batch_size=64"],
}
WHOLE = {
    **FIRST,
    # of three equal numbers the mean is not always the number
    "dp3": [*layout(ranks=3), "training.global_batch_size=9"],
}
OTHERS = some(
    {
        "one": layout(ranks=1),
        "ep4": layout(ranks=4, ep=4),
        "cp2_distopt": layout(ranks=2, cp=2, distopt=True),
        "tp2": layout(ranks=2, tp=2, sp=True),
        "pp2_interleaved": layout(ranks=2, pp=2, vpp=2),
    },
    ["one", "tp2"],
)
VALIDATED = ["validation.interval=1", "validation.steps=1", "data.split=[0.6,0.4,0.0]"]


@pytest.fixture(scope="module")
def folder(train_many: Callable[..., list[int]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole runs, and runs stopped half-way and continued in the same and in other layouts."""
    root = tmp_path_factory.mktemp("experts")

    def job(name: str, settings: list[str], *more: str) -> list[str]:
        return [f"run.dir={root / name}", *MIXTURE, f"training.steps={STEPS}", *settings, *more]

    stop = f"training.stop_after_step={HALF}"
    jobs = [job(f"{name}-half", settings, stop) for name, settings in FIRST.items()]
    jobs += [job(f"{name}-whole", settings) for name, settings in WHOLE.items()]
    jobs.append(job("validated", layout(ranks=1), *VALIDATED))
    jobs.append(job("unvalidated", layout(ranks=1), *VALIDATED[2:]))
    assert set(train_many(jobs)) == {0}
    continued = []
    for name, other, settings in [
        *((name, "same", settings) for name, settings in FIRST.items()),
        *(("pp2_ep2", other, settings) for other, settings in OTHERS.items()),
    ]:
        shutil.copytree(root / f"{name}-half", root / f"{name}-{other}")
        continued.append(job(f"{name}-{other}", settings))
    assert set(train_many(continued)) == {0}
    return root


def bias(run_dir: Path, step: int) -> Tensor:
    """[layers, experts] in a checkpoint."""
    found = stored.tensors(run_dir / "checkpoints" / f"step-{step:08d}", map(BIAS.format, LAYERS))
    return torch.stack([found[BIAS.format(layer)] for layer in LAYERS])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FIRST)
def test_same_layout_continues_bit_for_bit(folder: Path, name: str) -> None:
    runs = [folder / f"{name}-whole", folder / f"{name}-same"]
    exact = ("step", "loss", "grad_norm", "measures")
    whole, continued = [[[line[k] for k in exact] for line in training_lines(run)] for run in runs]
    assert len(whole) == STEPS
    assert whole == continued
    assert torch.equal(bias(runs[0], STEPS), bias(runs[1], STEPS))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("other", OTHERS)
def test_another_layout_continues_with_the_bias(folder: Path, other: str) -> None:
    whole, continued = training_lines(folder / "pp2_ep2-whole"), training_lines(folder / f"pp2_ep2-{other}")
    assert [line["step"] for line in continued] == list(range(1, STEPS + 1))
    for expected, got in zip(whole, continued, strict=True):
        assert got["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert got["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
    assert torch.equal(bias(folder / "pp2_ep2-whole", STEPS), bias(folder / f"pp2_ep2-{other}", STEPS))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", WHOLE)
def test_the_bias_moves_against_the_load_and_is_stored_as_it_is_told(folder: Path, name: str) -> None:
    """Wang et al. 2024 (arXiv 2408.15664), algorithm 1: the sign of what an expert lacks, times the rate."""
    expected = torch.zeros(len(LAYERS), 4)
    loads = lines_of(folder / f"{name}-whole", "load")
    assert [line["step"] for line in loads] == list(range(1, STEPS + 1))
    for line in loads:
        assert line["places"] == [f"layer {layer}" for layer in LAYERS]
        expected += torch.sign(1 - torch.tensor(line["load"])) * RATE
        assert torch.allclose(torch.tensor(line["bias"]), expected, atol=1e-6)
    found = bias(folder / f"{name}-whole", STEPS)
    assert found.dtype == torch.float32 and found.abs().max() > 0
    assert torch.equal(found, expected)


@pytest.mark.timeout(600)
def test_validation_leaves_the_bias_alone_and_counts_for_nothing(folder: Path) -> None:
    one, other = folder / "validated", folder / "unvalidated"
    assert len(lines_of(one, "validation")) > STEPS
    assert torch.equal(bias(one, STEPS), bias(other, STEPS))
    told = [[(line["step"], line["load"]) for line in lines_of(run, "load")] for run in (one, other)]
    assert told[0] == told[1]
    assert [line["measures"] for line in training_lines(one)] == [
        line["measures"] for line in training_lines(other)
    ]


@pytest.mark.timeout(600)
def test_a_checkpoint_has_one_bias_for_each_mixture_layer(folder: Path) -> None:
    index = FileSystemReader(folder / "pp2_ep2-whole" / "checkpoints" / f"step-{STEPS:08d}").read_metadata()
    assert sorted(key for key in index.state_dict_metadata if "expert_bias" in key) == [
        BIAS.format(layer) for layer in LAYERS
    ]
    assert not [key for key in index.state_dict_metadata if "tokens_per_expert" in key]
