"""Sharded gradients and parameters (ZeRO-2, ZeRO-3): the same model, less memory, checkpoints for every layout."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import breadth
import warm
from slipway.config.compose import compose
from slipway.plan import make_plan
from training import SMALL, layout, training_lines

pytestmark = pytest.mark.timeout(600)

STEPS, HALF = (8, 4) if breadth.ALL else (4, 2)
LOSS = 1e-5  # relative, fp32
GRADIENT_NORM = 1e-4  # relative

ZERO2, ZERO3 = "parallelism=zero2", "parallelism=zero3"
VALIDATE = [f"validation.interval={HALF}", "validation.steps=1", "data.split=[0.6,0.4,0.0]"]
VALIDATE += ["training.global_batch_size=4"]  # two microbatches of each of two replicas
GATED = ["model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"]
UNTIED = ["model.untie_embeddings_and_output_weights=true", *GATED]
EXPERTS = ["model.num_moe_experts=4", "model.add_bias_linear=false", "model.moe_aux_loss_coeff=0.1"]
EXPERTS += ["model.first_k_dense_replace=1", "model.moe_shared_expert_intermediate_size=256"]

LAYOUTS = {
    "zero2": [ZERO2, *layout(ranks=2)],
    "zero3_tp2_sp": [ZERO3, *layout(ranks=4, tp=2, sp=True)],
}
# (run that stopped half-way, layout that continues it)
OTHERS = {
    ("zero3_tp2_sp", "one"): layout(ranks=1),
    ("one", "zero3"): [ZERO3, *layout(ranks=2)],
}
MORE = {
    "zero2_dp4": [ZERO2, *layout(ranks=4)],
    "zero2_at_once": [ZERO2, *layout(ranks=2, param_overlap=False)],
    "zero2_tp2": [ZERO2, *layout(ranks=4, tp=2)],
    "zero3_dp4": [ZERO3, *layout(ranks=4)],
    "zero3_cp2": [ZERO3, *layout(ranks=2, cp=2)],
    "zero3_recompute": [ZERO3, *layout(ranks=2, recompute="full")],
}
WITH = {
    "untied": (UNTIED, [ZERO3, *layout(ranks=4, tp=2, sp=True)]),
    "unfused": (["kernels.cross_entropy=unfused"], [ZERO3, *layout(ranks=2)]),
    "experts_zero2": (EXPERTS, [ZERO2, *layout(ranks=4, ep=2)]),
    "experts_zero3": (EXPERTS, [ZERO3, *layout(ranks=8, ep=2, tp=2, sp=True)]),
}


def close(expected: list[dict], got: list[dict], loss: float = LOSS, norm: float = GRADIENT_NORM) -> None:
    assert [line["step"] for line in got] == [line["step"] for line in expected]
    for one, other in zip(expected, got, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=loss), f"loss of step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=norm), f"step {one['step']}"


def validations(run_dir: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "validation"]


@pytest.fixture(scope="module")
def folder(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole runs, and runs stopped half-way and continued in the same and in other layouts."""
    root = tmp_path_factory.mktemp("sharded")

    def job(name: str, settings: list[str], *more: str) -> list[str]:
        return [f"run.dir={root / name}", f"training.steps={STEPS}", *VALIDATE, *settings, *more]

    every = {"one": layout(ranks=1), **LAYOUTS}
    halves = ["one", "zero3_tp2_sp"]
    stop = f"training.stop_after_step={HALF}"
    jobs = [job(name, settings) for name, settings in every.items()]
    codes = train_many([*jobs, *(job(f"{name}-half", every[name], stop) for name in halves)])
    assert set(codes) == {0}, codes
    continued = {("zero3_tp2_sp", "same"): every["zero3_tp2_sp"], **OTHERS}
    for name, other in continued:
        shutil.copytree(root / f"{name}-half", root / f"{name}-{other}")
    codes = train_many([job(f"{name}-{other}", settings) for (name, other), settings in continued.items()])
    assert set(codes) == {0}, codes
    return root


@pytest.mark.slow  # `make test-py312` runs it; on 3.11 tests/reference has ZeRO-3, continued
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_model(folder: Path, name: str) -> None:
    close(training_lines(folder / "one"), training_lines(folder / name))
    expected, got = validations(folder / "one"), validations(folder / name)
    assert [step for step, _ in got] == [0, HALF, STEPS]
    assert [loss for _, loss in got] == pytest.approx([loss for _, loss in expected], rel=LOSS)


@pytest.mark.slow  # `make test-py312` runs it; on 3.11 tests/reference has ZeRO-3, continued
def test_the_same_layout_continues_bit_for_bit(folder: Path) -> None:
    whole, continued = (training_lines(folder / f"zero3_tp2_sp{end}") for end in ("", "-same"))
    close(whole, continued, loss=0, norm=0)


@pytest.mark.slow  # `make test-py312` runs it; on 3.11 tests/reference has ZeRO-3, continued
@pytest.mark.parametrize(("name", "other"), OTHERS)
def test_another_layout_continues_with_the_optimizer_state(folder: Path, name: str, other: str) -> None:
    close(training_lines(folder / name), training_lines(folder / f"{name}-{other}"))


PROGRAM = """
import sys
from pathlib import Path
from slipway.config.compose import compose
from slipway.kernels.choice import backends
from slipway.plan import make_plan
from slipway.ranks.local import run_local
from slipway.engine.runtime import load_torch

def body(place):
    from slipway.engine import engine_of
    from slipway.train.setup import build_session
    session = build_session(plan, engine_of(plan.config).connect(plan, place))
    groups = session.model.chunks[0].param_and_grad_buffer.parameter_groups
    names = ("model_weight_buffer", "main_grad_buffer", "main_weight_buffer")
    held = [sum(getattr(group, name).data.nbytes for group in groups) for name in names]
    folder.mkdir(exist_ok=True)
    (folder / str(place.rank)).write_text(repr(held))
    return 0

for preset in ("zero2", "zero3"):
    config, folder = compose([*sys.argv[2:], f"parallelism={preset}"]), Path(sys.argv[1], preset)
    plan = make_plan(config).with_kernels(backends(load_torch(config, 2)))
    assert run_local(2, folder / "logs", body) == 0
"""


def test_a_rank_holds_what_the_plan_says(tmp_path: Path) -> None:
    overrides = [*SMALL, "data.tokenizer.kind=byte", "training.precision=bf16", *layout(ranks=2)]
    done = warm.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), *overrides], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for preset in ("zero2", "zero3"):
        stage = make_plan(compose([*overrides, f"parallelism={preset}"])).memory.stages[0]
        copies = stage.optimizer_states // 3  # and two moments, from the first update on
        for rank in "01":
            held = json.loads((tmp_path / preset / rank).read_text())
            assert held == pytest.approx([stage.parameters, stage.gradients, copies], rel=0.03)  # padded


@pytest.mark.slow  # `make test-py312` runs it
def test_more_layouts(folder: Path, train_many, tmp_path: Path) -> None:
    jobs = [
        [f"run.dir={tmp_path / name}", f"training.steps={STEPS}", *VALIDATE, *of] for name, of in MORE.items()
    ]
    assert train_many(jobs) == [0] * len(jobs)
    for name in MORE:
        close(training_lines(folder / "one"), training_lines(tmp_path / name))


@pytest.mark.slow  # `make test-py312` runs it
def test_other_models(train_many, tmp_path: Path) -> None:
    jobs = []
    for name, (model, of) in WITH.items():
        jobs.append([f"run.dir={tmp_path / name}-one", f"training.steps={STEPS}", *model, *layout(ranks=1)])
        jobs.append([f"run.dir={tmp_path / name}", f"training.steps={STEPS}", *model, *of])
    assert train_many(jobs) == [0] * len(jobs)
    for name in WITH:
        close(training_lines(tmp_path / f"{name}-one"), training_lines(tmp_path / name))


@pytest.mark.slow  # `make test-py312` runs it
def test_bf16_accumulates_and_continues_in_fp32(train_many, tmp_path: Path) -> None:
    """As far from one rank as data parallelism is: gradients are reduced in fp32, the fp32 copies are stored."""
    bf16 = ["training.precision=bf16", *GATED]
    every = {
        "one": layout(ranks=1),
        "zero2": [ZERO2, *layout(ranks=2)],
        "zero3": [ZERO3, *layout(ranks=4, tp=2, sp=True)],
    }
    stop = f"training.stop_after_step={HALF}"

    def job(name: str, of: list[str], *more: str) -> list[str]:
        return [f"run.dir={tmp_path / name}", f"training.steps={STEPS}", *bf16, *of, *more]

    jobs = [job(name, of) for name, of in every.items()] + [job("half", every["zero3"], stop)]
    assert train_many(jobs) == [0] * len(jobs)
    shutil.copytree(tmp_path / "half", tmp_path / "to-one")
    shutil.copytree(tmp_path / "half", tmp_path / "same")
    assert train_many([job("to-one", every["one"]), job("same", every["zero3"])]) == [0, 0]
    whole = {name: training_lines(tmp_path / name) for name in [*every, "to-one", "same"]}
    for name in ("zero2", "zero3", "to-one"):
        close(whole["one"], whole[name], loss=1e-3, norm=5e-3)
    close(whole["zero3"], whole["same"], loss=0, norm=0)
