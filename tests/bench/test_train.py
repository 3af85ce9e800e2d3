import json
from pathlib import Path

import pytest

from refusals import check_line
from slipway.bench import train
from slipway.config.compose import compose
from slipway.metrics.step_time import KINDS
from slipway.plan import make_plan
from training import slipway

TINY = [
    "model.num_layers=2",
    "model.hidden_size=32",
    "model.vocab_size=256",
    "model.max_position_embeddings=32",
]


def test_two_ranks_are_measured(tmp_path: Path) -> None:
    words = ["--steps", "2", "--warmup", "1", "--json", "--out", "found", *TINY]
    done = slipway("bench", "train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert json.loads((tmp_path / "found" / "bench-train.json").read_text()) == record
    assert (tmp_path / "found" / "bench-train.png").read_bytes().startswith(b"\x89PNG")
    assert "profiler_start" not in done.stderr
    assert [row["rank"] for row in record["rows"]] == ["0", "1"]
    for row in record["rows"]:
        assert sum(row["shares"].values()) == pytest.approx(1)
        assert all(row["shares"][kind] > 0 for kind in KINDS), row
    summary = record["summary"]
    assert summary["ranks"] == 2
    assert summary["least_step_s"] <= summary["step_s"] <= summary["most_step_s"]
    assert summary["units_per_second"] == pytest.approx(4 * 32 / summary["step_s"])
    assert record["units"] == "tokens"
    assert 0 < summary["share"] == pytest.approx(summary["tflops_per_device"] / summary["ceiling_tflops"])


@pytest.mark.parametrize("dimension", ["tensor_model", "pipeline_model", "context"])
def test_each_dimension_is_measured(dimension: str, tmp_path: Path) -> None:
    """Each rank is given what its stages read, and no more: two ranks share a sequence by cutting all fields."""
    layout = [
        "parallelism=single",
        f"parallelism.{dimension}_parallel_size=2",
        "resources.devices_per_node=2",
    ]
    words = ["--steps", "1", "--warmup", "1", "--json", "--out", "found", *TINY, *layout]
    done = slipway("bench", "train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["step_s"] > 0


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["--steps", "0"], "bench train --steps", [0, 1]),
        (["--warmup", "0"], "bench train --warmup", [0, 1]),
        (["resources.nodes=2"], "bench train", ["resources.nodes", 2]),
        (
            ["parallelism.tensor_model_parallel_size=3"],
            "parallelism",
            ["2 = 1 nodes x 2 devices", "tensor 3"],
        ),
        (["model.hiden_size=1"], "model.hiden_size", ["hidden_size"]),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    words: list[str], path: str, facts: list[object], tmp_path: Path
) -> None:
    done = slipway("bench", "train", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    check_line(done.stderr, path, *facts)
    assert not list(tmp_path.iterdir())


def test_many_ranks_are_shown_by_stage() -> None:
    layout = ["parallelism.pipeline_model_parallel_size=2", "resources.devices_per_node=32"]
    plan = make_plan(compose([*train.DEFAULTS, *layout, "training.global_batch_size=32"]))
    stages = [plan.grid.coordinates(rank).pp for rank in range(plan.world_size)]
    seconds = [dict.fromkeys(KINDS, 1.0) | {"waiting": 5.0 * stage} for stage in stages]
    first, second = train.table(plan, {"breakdowns": seconds})
    assert (first.rank, first.stage) == ("mean of 16 in stage 0", 0)
    assert (first.shares["waiting"], second.shares["waiting"]) == (0.0, 0.5)
