"""A masked auto-encoder that stops and continues, on as many ranks or on others, is the one that did not stop."""

import json
import shutil
from pathlib import Path

import pytest

import chips
from breadth import some
from training import layout, train_in_one_process, training_lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # `make test-py312` runs it

STEPS, HALF = 4, 2
LOSS, GRADIENT_NORM = 1e-5, 1e-4  # relative, in another layout
EXACT = ("step", "loss", "grad_norm", "learning_rate", "consumed_samples")
STOP = f"training.stop_after_step={HALF}"
WISH = layout(tp=2, pp=2, sp=True, distopt=True)
FIRST = {"3d": [*WISH, *layout(ranks=8)], "zero3": ["parallelism=zero3", *layout(ranks=2)]}
OTHERS = some(
    {
        "3d, one": layout(ranks=1),
        "3d, elastic": [*WISH, "resources.elastic=true", *layout(ranks=2)],  # pipeline 2 -> 1
        "3d, zero3_tp2": ["parallelism=zero3", *layout(ranks=4, tp=2)],
        "3d, pp2_interleaved_uneven": [
            "parallelism.pipeline_layout=E|ttt|t|L",
            *layout(ranks=2, pp=2, vpp=2),
        ],
        "zero3, pp2": layout(ranks=2, pp=2),
        "zero3, tp4_sp": layout(ranks=4, tp=4, sp=True),
    },
    ["3d, elastic", "zero3, pp2"],
)
STILL = ["optimizer.lr=1e-30", "optimizer.weight_decay=0", "validation.interval=1"]  # no weight moves


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole runs, and runs stopped half-way and continued in the same and in other layouts."""
    root = tmp_path_factory.mktemp("continuation")
    data = chips.write(root / "chips")

    def job(name: str, words: list[str]) -> list[str]:
        return [*chips.TINY, *data, f"training.steps={STEPS}", *words, f"run.dir={root / name}"]

    jobs = [job(f"{name}-whole", words) for name, words in FIRST.items()]
    jobs += [job(f"{name}-half", [*words, STOP]) for name, words in FIRST.items()]
    jobs += [job("still", [*STILL, *layout(ranks=1)])]
    assert set(train_in_one_process(jobs, root / "codes")) == {0}
    continued = {f"{name}, same": words for name, words in FIRST.items()} | OTHERS
    for both in continued:
        shutil.copytree(root / f"{both.split(', ')[0]}-half", root / both.replace(", ", "-"))
    jobs = [job(both.replace(", ", "-"), words) for both, words in continued.items()]
    assert set(train_in_one_process(jobs, root / "codes")) == {0}
    return root


def validations(run_dir: Path) -> list[float]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "validation"]


@pytest.mark.parametrize("name", FIRST)
def test_the_same_layout_continues_bit_for_bit(folder: Path, name: str) -> None:
    """Also what is hidden of each sample, and which metadata it has: else no loss would be the same."""
    whole, continued = training_lines(folder / f"{name}-whole"), training_lines(folder / f"{name}-same")
    assert [[line[key] for key in EXACT] for line in continued] == [
        [line[key] for key in EXACT] for line in whole
    ]
    assert len(whole) == STEPS
    assert validations(folder / f"{name}-same")[-1] == validations(folder / f"{name}-whole")[-1]


@pytest.mark.parametrize("both", OTHERS)
def test_another_layout_continues_with_the_optimizer_state(folder: Path, both: str) -> None:
    name, other = both.split(", ")
    whole, continued = training_lines(folder / f"{name}-whole"), training_lines(folder / f"{name}-{other}")
    assert [line["step"] for line in continued] == list(range(1, STEPS + 1))
    for expected, got in zip(whole, continued, strict=True):
        assert got["loss"] == pytest.approx(expected["loss"], rel=LOSS)
        assert got["grad_norm"] == pytest.approx(expected["grad_norm"], rel=GRADIENT_NORM)


def test_validation_hides_the_same_each_time(folder: Path) -> None:
    """With weights that stay as they are: training draws other samples and masks at each step, validation does not."""
    trained = [line["loss"] for line in training_lines(folder / "still")]
    assert len(set(trained)) == STEPS
    assert len(validations(folder / "still")) == STEPS + 1 and len(set(validations(folder / "still"))) == 1
