import errno
import json
import os
from pathlib import Path

import pytest

from presets import ON_DEMO_DATA, large
from refusals import refused
from slipway.cli import main
from slipway.config.compose import compose
from slipway.plan import make_plan, plan_file, switches

GOLDEN = Path(__file__).parent.parent / "golden" / "plan"
# SLIPWAY_UPDATE_GOLDENS=1 writes them anew; read the difference before committing it.
UPDATE = os.environ.get("SLIPWAY_UPDATE_GOLDENS") == "1"
GOLDENS = {
    "demo": "experiment=demo",
    "llama3_8b": f"experiment=llama3_8b cluster=h100_cloud resources.nodes=2 {' '.join(ON_DEMO_DATA)}",
    "mixtral_8x7b": f"{' '.join(large('mixtral_8x7b', 4, 'jupiter_booster'))} parallelism=tp2 "
    "parallelism.pipeline_model_parallel_size=2 parallelism.virtual_pipeline_model_parallel_size=2 "
    "parallelism.expert_model_parallel_size=4 "
    "data.sequence_length=4096",
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "installed", lambda: (0, 16))  # which keeps what interleaved stages send
    assert main(["plan", "--json", *GOLDENS[name].split()]) == 0
    shown = capsys.readouterr().out
    path = GOLDEN / f"{name}.json"
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_the_issues_example() -> None:
    words = (
        "model=demo resources.devices_per_node=4 parallelism.tensor_model_parallel_size=2 "
        "parallelism.pipeline_model_parallel_size=2 training.steps=20 run.dir=DIR"
    )
    plan = make_plan(compose(words.split()))
    assert (plan.world_size, plan.model_parallel_size, plan.data_parallel_size) == (4, 4, 1)
    assert [(at.tp, at.pp) for at in map(plan.grid.coordinates, range(4))] == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_counts_of_the_run() -> None:
    plan = make_plan(compose(["experiment=demo", "training.steps=30"]))
    training = plan.config.training
    assert (
        plan.num_microbatches * training.micro_batch_size * plan.data_parallel_size
        == training.global_batch_size
    )
    assert plan.samples == 30 * training.global_batch_size
    assert plan.units == plan.samples * plan.units_per_sample
    assert plan.flops_per_step == training.global_batch_size * plan.flops_per_sample


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    plan = make_plan(compose(["experiment=demo"]))
    path = tmp_path / "new" / "plan.json"
    plan_file.write(plan, path)
    assert plan_file.read(path) == plan
    assert os.listdir(path.parent) == ["plan.json"]
    plan_file.write(plan, path)
    assert plan_file.read(path) == plan


def test_a_reader_of_the_old_plan_never_sees_half_of_the_new(tmp_path: Path) -> None:
    plan = make_plan(compose(["experiment=demo"]))
    path = tmp_path / "plan.json"
    path.write_text("old")
    with open(path) as reader:
        plan_file.write(plan, path)
        assert reader.read() == "old"
    assert plan_file.read(path) == plan


def test_llama_3_405b_on_the_stages_that_it_was_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    """126 layers on 16 stages, one less on the first and on the last: arXiv 2407.21783, section 3.3.2."""
    words = large("llama3_405b", 16)
    plan = make_plan(compose(words))
    assert [stage.blocks for stage in plan.stages] == [
        [(0, 7)],
        *([(7 + 8 * stage, 8)] for stage in range(14)),
        [(119, 7)],
    ]
    first, second, *_, last = plan.stages
    table = (
        128256 // 8 * 16384
    )  # of the embedding, and of the output layer, on one of 8 tensor-parallel ranks
    layer = second.parameters // 8
    assert (first.parameters, last.parameters) == (7 * layer + table, 7 * layer + table + 16384)
    assert main(["plan", *words]) == 0
    assert "7, 8 (x 14), 7" in capsys.readouterr().out
    interleaved = make_plan(compose([*words, "parallelism.virtual_pipeline_model_parallel_size=8"]))
    assert [count for _, count in interleaved.stages[0].blocks] == [0, *[1] * 7]
    assert [count for _, count in interleaved.stages[15].blocks] == [*[1] * 7, 0]
    assert interleaved.stages[0].spans[0] == (0, 1)  # the embedding alone


def test_a_write_that_fails_leaves_the_old_plan(tmp_path: Path, monkeypatch) -> None:
    plan = make_plan(compose(["experiment=demo"]))
    path = tmp_path / "plan.json"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        plan_file.write(plan, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.json"]


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with refused(path, os.strerror(errno.ENOENT)):
        plan_file.read(path)
    path.write_text("{")
    with refused(path):
        plan_file.read(path)
    plain = json.loads(make_plan(compose(["experiment=demo"])).model_dump_json())
    plain["config"]["training"]["stepz"] = 1
    path.write_text(json.dumps(plain))
    with refused(f"{path}: config.training.stepz", use="steps"):
        plan_file.read(path)
