"""With Muon, too: a run that stops and continues is the run that did not stop, its momentum in any layout."""

import shutil
from pathlib import Path

import pytest

from breadth import some
from reference import stored
from training import layout, training_lines

STEPS, HALF = 6, 3
LOSS, GRADIENT_NORM = 1e-5, 1e-4  # relative, in another layout

MIXTURE = ["optimizer=muon", "optimizer.lr=5e-3", "model.activation=swiglu", "model.add_bias_linear=false"]
MIXTURE += ["model.num_moe_experts=4", "model.moe_router_topk=2"]
FIRST = some(
    {
        "3d": layout(ranks=8, tp=2, pp=2, sp=True, ep=2, distopt=True),
        "bf16": layout(ranks=2, tp=2, sp=True, precision="bf16"),
    },
    ["3d"],
)
OTHERS = some(
    {
        "one": layout(ranks=1),
        "dp4_distopt": layout(ranks=4, distopt=True),
        "tp4": layout(ranks=4, tp=4, sp=True),
        "pp2_interleaved_ep2": layout(ranks=4, pp=2, vpp=2, ep=2),
    },
    ["pp2_interleaved_ep2"],
)


@pytest.fixture(scope="module")
def folder(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole runs, and runs stopped half-way and continued in the same and in other layouts."""
    root = tmp_path_factory.mktemp("muon")

    def job(name: str, settings: list[str], *more: str) -> list[str]:
        return [f"run.dir={root / name}", f"training.steps={STEPS}", *MIXTURE, *settings, *more]

    stop = f"training.stop_after_step={HALF}"
    halves = [job(f"{name}-half", settings, stop) for name, settings in FIRST.items()]
    wholes = [job(f"{name}-whole", settings) for name, settings in FIRST.items()]
    assert set(train_many([*halves, *wholes])) == {0}
    continued = []
    for name, settings in FIRST.items():
        shutil.copytree(root / f"{name}-half", root / f"{name}-same")
        continued.append(job(f"{name}-same", settings))
    for other, settings in OTHERS.items():
        shutil.copytree(root / "3d-half", root / f"3d-{other}")
        continued.append(job(f"3d-{other}", settings))
    assert set(train_many(continued)) == {0}
    return root


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FIRST)
def test_same_layout_continues_bit_for_bit(folder: Path, name: str) -> None:
    whole, continued = training_lines(folder / f"{name}-whole"), training_lines(folder / f"{name}-same")
    exact = ("step", "loss", "grad_norm", "learning_rate", "consumed_samples")
    assert [{k: line[k] for k in exact} for line in continued] == [
        {k: line[k] for k in exact} for line in whole
    ]
    assert len(whole) == STEPS
    ends = [stored.everything(_last(folder / f"{name}-{end}")) for end in ("whole", "same")]
    assert ends[0].keys() == ends[1].keys()
    assert all(bool((tensor == ends[1][key]).all()) for key, tensor in ends[0].items())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("other", OTHERS)
def test_another_layout_continues_with_the_momentum(folder: Path, other: str) -> None:
    whole, continued = training_lines(folder / "3d-whole"), training_lines(folder / f"3d-{other}")
    assert [line["step"] for line in continued] == list(range(1, STEPS + 1))
    for expected, got in zip(whole, continued, strict=True):
        assert got["loss"] == pytest.approx(expected["loss"], rel=LOSS)
        assert got["grad_norm"] == pytest.approx(expected["grad_norm"], rel=GRADIENT_NORM)
    expected, got = (stored.everything(_last(folder / f"3d-{end}")) for end in ("whole", other))
    momenta = [key for key in expected if key.startswith("optimizer.momentum_buffer.")]
    assert momenta
    for key in momenta:
        off = float((expected[key] - got[key]).norm() / expected[key].norm())
        assert off < GRADIENT_NORM, f"{key}: {off:.1e}"


def test_a_parameter_has_its_own_kind_of_state(folder: Path) -> None:
    """Matrices have one momentum, all else AdamW's two moments; the embedding is no hidden matrix, the router is."""
    states: dict[str, set[str]] = {}
    for key in stored.everything(_last(folder / "3d-whole")):
        if key.startswith("optimizer."):
            _, name, parameter = key.split(".", 2)
            states.setdefault(parameter, set()).add(name)
    matrices = {key for key, kept in states.items() if kept == {"momentum_buffer"}}
    assert {states[key] == {"exp_avg", "exp_avg_sq"} for key in states.keys() - matrices} == {True}
    layers = ("self_attention.linear_qkv", "self_attention.linear_proj", "mlp.router")
    experts = ("mlp.experts.experts.linear_fc1", "mlp.experts.experts.linear_fc2")
    assert matrices == {f"decoder.layers.{name}.weight" for name in (*layers, *experts)}


def _last(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / f"step-{STEPS:08d}"
