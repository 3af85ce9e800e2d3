"""A run that stops and continues is the run that did not stop; any layout continues any checkpoint."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import breadth
from breadth import some
from reference import stored
from training import layout, training_lines

STEPS, HALF = (8, 4) if breadth.ALL else (3, 1)
LOSS = 1e-5  # relative, in another layout

DROPOUT = ["model.hidden_dropout=0.1", "model.attention_dropout=0.1"]
# the peak is measured at each start, and validations come between
MEASURED = ["cluster.device.peak_tflops_fp32=null", f"validation.interval={HALF + 1}", "validation.steps=1"]
MEASURED += ["data.split=[0.6,0.4,0.0]"]
FIRST = {
    "3d": layout(ranks=8, tp=2, pp=2, sp=True, distopt=True),
    "one": layout(ranks=1),
    "bf16_dropout": [*layout(ranks=4, tp=2, sp=True, distopt=True, precision="bf16"), *DROPOUT],
    "dropout_one": [*layout(ranks=1), *DROPOUT, *MEASURED],
}
# the rate rises to what no model bears, and the loss with it
BEST_STEPS = 12
BEST = [
    "optimizer.lr=5",
    "optimizer.min_lr=5",
    f"optimizer.lr_warmup_steps={BEST_STEPS - 1}",
    "validation.interval=4",
    "validation.steps=1",
    "checkpoint.interval=4",
    "checkpoint.keep_last=1",
    "checkpoint.keep_best=1",
    "data.split=[0.6,0.4,0.0]",
]
# more layers on one stage than on another, and continued once more, by one rank, before the last step
UNEVEN = "pp2_interleaved_uneven_distopt"
# the halves are of 3d
OTHERS = some(
    {
        "one": layout(ranks=1),
        "dp8_distopt": layout(ranks=8, distopt=True),
        "tp4": layout(ranks=4, tp=4),
        "pp2_interleaved_distopt": layout(ranks=4, pp=2, vpp=2, distopt=True),
        "pp3": layout(ranks=3, pp=3),
        UNEVEN: ["parallelism.pipeline_layout=E|tt|tt|L", *layout(ranks=4, pp=2, vpp=2, distopt=True)],
    },
    ["one", "tp4", UNEVEN],
)


@pytest.fixture(scope="module")
def folder(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole runs, and runs stopped half-way and continued in the same and in other layouts."""
    root = tmp_path_factory.mktemp("continuation")

    def job(name: str, settings: list[str], *more: str) -> list[str]:
        return [f"run.dir={root / name}", f"training.steps={STEPS}", *settings, *more]

    stop = f"training.stop_after_step={HALF}"
    halves = [job(f"{name}-half", settings, stop) for name, settings in FIRST.items()]
    wholes = [job(f"{name}-whole", settings) for name, settings in FIRST.items()]
    best = job("best", FIRST["one"], *BEST, f"training.steps={BEST_STEPS}")
    assert set(train_many([*halves, *wholes, best])) == {0}
    continued = []
    for name, settings in FIRST.items():
        shutil.copytree(root / f"{name}-half", root / f"{name}-same")
        continued.append(job(f"{name}-same", settings))
    for other, settings in OTHERS.items():
        shutil.copytree(root / "3d-half", root / f"3d-{other}")
        early = [f"training.stop_after_step={HALF + 1}"] if other == UNEVEN else []
        continued.append(job(f"3d-{other}", settings, *early))
    continued.append(job(f"3d-{UNEVEN}", layout(ranks=1)))
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("other", OTHERS)
def test_another_layout_continues_with_the_optimizer_state(folder: Path, other: str) -> None:
    whole, continued = training_lines(folder / "3d-whole"), training_lines(folder / f"3d-{other}")
    assert [line["step"] for line in continued] == list(range(1, STEPS + 1))
    for expected, got in zip(whole, continued, strict=True):
        assert got["loss"] == pytest.approx(expected["loss"], rel=LOSS)
        assert got["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)


def test_ranks_draw_different_numbers_unless_they_hold_the_same_activations(folder: Path) -> None:
    """Nothing is dropped in these runs: generators are as they were seeded. Ranks: tensor fastest, then data."""
    names = ("rng.default", "rng.model-parallel-rng")
    default, model_parallel = stored.tensors(_last(folder / "3d-whole"), names).values()
    alike = {(i, j) for i in range(8) for j in range(i) if torch.equal(default[i], default[j])}
    assert alike == {(1, 0), (3, 2), (5, 4), (7, 6)}  # the same tensor-parallel group
    assert len({bytes(state.numpy()) for state in model_parallel}) == 8


def test_another_layout_does_not_draw_again_what_the_first_steps_drew(folder: Path) -> None:
    first, later = (stored.tensors(_last(folder / run), ["rng.default"]) for run in ("one-whole", "3d-one"))
    assert not torch.equal(first["rng.default"], later["rng.default"])


def _last(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / f"step-{STEPS:08d}"


def test_a_checkpoint_says_what_it_is_and_no_temporary_folder_stays(folder: Path) -> None:
    checkpoints = folder / "3d-whole" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["latest", f"step-{STEPS:08d}"]
    info = json.loads((checkpoints / f"step-{STEPS:08d}" / "slipway.json").read_text())
    assert (info["step"], sum(info["data"]["phases"][0]["consumed"].values()), info["world_size"]) == (
        STEPS,
        STEPS * 8,
        8,
    )


def test_an_interrupted_save_is_never_loaded(folder: Path, train_many) -> None:
    """A newer temporary folder without a commit, and lines of steps that its loss undid, are left behind."""
    run_dir = folder / "one-torn"
    shutil.copytree(folder / "one-half", run_dir)
    complete = run_dir / "checkpoints" / f"step-{HALF:08d}"
    shutil.copytree(complete, run_dir / "checkpoints" / ".step-00000015.tmp")
    lost = training_lines(run_dir)[-1] | {"step": HALF + 1, "loss": 99.0}
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(lost) + '\n{"kind": "train", "ste')
    assert train_many([[f"run.dir={run_dir}", f"training.steps={STEPS}", *FIRST["one"]]]) == [0]
    whole, continued = training_lines(folder / "one-whole"), training_lines(run_dir)
    assert [line["loss"] for line in continued] == [line["loss"] for line in whole]
    assert [path.name for path in sorted((run_dir / "checkpoints").iterdir())] == [
        "latest",
        f"step-{HALF:08d}",
        f"step-{STEPS:08d}",
    ]


def test_a_finished_run_has_nothing_left_to_do(folder: Path, train_many) -> None:
    before = (folder / "one-whole" / "metrics.jsonl").read_bytes()
    job = [f"run.dir={folder / 'one-whole'}", f"training.steps={STEPS}", *FIRST["one"]]
    assert train_many([job]) == [0]
    assert (folder / "one-whole" / "metrics.jsonl").read_bytes() == before


def test_the_best_checkpoint_is_kept(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "best" / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line["kind"] == "validation"}
    best = min(range(4, BEST_STEPS + 1, 4), key=losses.__getitem__)
    assert best != BEST_STEPS
    kept = sorted((folder / "best" / "checkpoints").glob("step-*"))
    assert [path.name for path in kept] == [f"step-{best:08d}", f"step-{BEST_STEPS:08d}"]
    assert json.loads((kept[0] / "slipway.json").read_text())["validation_loss"] == losses[best]
