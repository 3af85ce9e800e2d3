"""plan.json: what jobs carry."""

import json
from pathlib import Path

import pytest

from presets import large
from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.plan import Plan, make_plan, plan_file
from slipway.plan.step.devices import hardware_of


def planned(*overrides: str) -> Plan:
    return make_plan(compose(overrides))


def test_a_plan_survives(tmp_path: Path) -> None:
    plan = planned("experiment=demo", "run.name=a", "optimizer.min_lr=1.5e-7")
    path = tmp_path / "plan.json"
    plan_file.write(plan, path)
    assert plan_file.read(path) == plan
    assert plan_file.read_config(path) == plan.config


def test_changes_make_one_job_of_a_sweep_into_another(tmp_path: Path) -> None:
    base = planned("run.name=a")
    other = planned(
        "run.name=b",
        "optimizer.lr=2e-3",
        "data=files",
        "data.sources.files.inputs=[x y]",
        "model.num_layers=2",
    )
    words = plan_file.changes(base, other)
    assert 'config.run.name="b"' in words and "config.optimizer.lr=0.002" in words
    assert not [word for word in words if word.startswith("config.cluster")]
    path = tmp_path / "plan.json"
    plan_file.write(base, path)
    assert plan_file.read(path, words) == other


def test_names_with_dots_do_not_become_paths(tmp_path: Path) -> None:
    plain = planned("data=files", "data.sources.files.inputs=[x]").config.model_dump(mode="json")
    plans = []
    for weight in (1, 2):
        plain["data"]["sources"] = {"a.b": {"inputs": ["x"], "weight": weight}}
        plans.append(make_plan(RunConfig.model_validate(plain)))
    path = tmp_path / "plan.json"
    plan_file.write(plans[0], path)
    assert plan_file.read(path, plan_file.changes(*plans)) == plans[1]


@pytest.mark.parametrize(
    ("text", "changed", "path", "facts"),
    [
        ("{", [], "", ["JSON"]),
        ("[]", [], "", []),
        ("{}", [], "", []),
        (None, ["a.b=1"], "a.b", []),
        (None, ["config.run.name=b"], "config.run.name=b", ["KEY=JSON"]),
        (None, ["config.run"], "config.run", ["KEY=JSON"]),
        (None, ["config.optimizer.rl=1"], "config.optimizer.rl", []),
        (None, ["config.optimizer.lr=-1"], ": config.optimizer.lr", [-1]),
        (None, ["parameters=null"], "", ["parameters"]),
    ],
)
def test_mistakes_are_one_line(
    text: str | None, changed: list[str], path: str, facts: list[object], tmp_path: Path
) -> None:
    """path: empty, or from a colon on, where it is the file's or begins with it."""
    file = tmp_path / "plan.json"
    file.write_text(plan_file.to_text(planned()) if text is None else text)
    with refused(f"{file}{path}" if path[:1] in ("", ":") else path, *facts):
        plan_file.read(file, changed)


@pytest.mark.parametrize(
    "changed", ["config.training.global_batch_size=32", "num_microbatches=1", "config.model.num_layers=2"]
)
def test_numbers_that_do_not_follow_from_the_configuration_are_refused(changed: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan_file.write(planned("experiment=demo"), path)
    with refused(path, use="`slipway plan --json`"):
        plan_file.read(path, [changed])


def test_a_plan_is_read_where_its_devices_constants_are_not(tmp_path: Path) -> None:
    """A job finds plan.json, and not the file that `slipway bench device` wrote on another machine."""
    known = hardware_of(compose(large("gpt3_125m")))
    assert known is not None
    constants, path = tmp_path / "device.json", tmp_path / "plan.json"
    constants.write_text(known.model_copy(update={"device": "mine"}).model_dump_json())
    plan = planned(*large("gpt3_125m"), "cluster.device.name=mine", f"cluster.device.measured={constants}")
    plan_file.write(plan, path)
    constants.unlink()
    assert plan_file.read(path) == plan and plan.time.seconds_per_step


def test_a_file_that_is_not_there() -> None:
    with refused("nowhere.json"):
        plan_file.read(Path("nowhere.json"))


def test_the_largest_plan_is_small() -> None:
    """23,436 ranks in 63 stages: kilobytes, as a script or a ConfigMap can carry it."""
    sizes = "parallelism.tensor_model_parallel_size=4 parallelism.pipeline_model_parallel_size=63"
    batch = "training.micro_batch_size=1 training.global_batch_size=930"
    plan = planned(*large("llama3_405b", 5859, "jupiter_booster"), *sizes.split(), *batch.split())
    assert plan.world_size == 23_436
    assert len(plan.stages) == 63
    assert len(plan_file.to_text(plan)) < 100_000
    assert json.loads(plan_file.to_text(plan))["world_size"] == 23_436
