"""parallelism=auto: what it chooses, and that a run stays with it."""

import json
from pathlib import Path

import pytest

from presets import large
from refusals import refused
from slipway.cli import main
from slipway.config.automatic import NEUTRAL
from slipway.config.compose import compose
from slipway.plan import elastic, make_plan, plan_file
from slipway.plan.kept import plan_of, said, stay
from slipway.plan.search.candidate import Candidate
from slipway.plan.search.search import ranked, search
from slipway.plan.search.space import SEARCHED
from slipway.run_dir import RunDir

GPT = [
    *(*large("gpt3_350m", 1), "model.num_layers=4", "training.global_batch_size=24"),
    *("parallelism=auto", "resources.devices_per_node=4", "cluster.device.memory_gib=4.2"),
]


def test_everything_that_is_searched_is_left_open() -> None:
    assert (
        set(compose(GPT).auto) == set(NEUTRAL) == set(Candidate(1, 1, 1, 1, 1, 1, "none", "none").fields(1))
    )
    assert set(SEARCHED) < set(NEUTRAL)


def test_the_plan_takes_the_best_and_says_why() -> None:
    config = compose(GPT)
    plan, best = make_plan(config), ranked(search(config).layouts)[0]
    assert plan.config == best.config and plan.config.auto == []
    assert plan.time.seconds_per_step == best.seconds
    assert plan.choice is not None and plan.choice.fields == config.auto
    assert f"microbatch {plan.config.training.micro_batch_size}" in (said(plan) or "")
    assert make_plan(config) == plan


def test_jobs_that_differ_in_what_no_layout_depends_on_take_the_same() -> None:
    one, other = (make_plan(compose([*GPT, f"optimizer.lr={rate}"])) for rate in (1e-4, 2e-4))
    assert other.config.optimizer.lr == 2e-4  # type: ignore[attr-defined]
    assert one.config.parallelism == other.config.parallelism and one.choice == other.choice
    smaller = make_plan(compose([*GPT, "cluster.device.memory_gib=3.2"]))
    assert smaller.memory.largest <= 3.2 * 2**30


def test_what_is_given_is_fixed_and_one_field_alone_can_be_auto() -> None:
    plan = make_plan(
        compose([*GPT, "parallelism.tensor_model_parallel_size=2", "training.micro_batch_size=3"])
    )
    assert plan.config.parallelism.tensor_model_parallel_size == 2
    assert plan.config.training.micro_batch_size == 3
    one = [word for word in GPT if word != "parallelism=auto"]
    fixed = ["parallelism=single", "training.micro_batch_size=1", "cluster.device.memory_gib=79"]
    alone = compose([*one, *fixed, "training.recompute=auto"])
    assert alone.auto == ["training.recompute"]
    assert make_plan(alone).config.training.recompute != "full"


def test_an_experiment_fixes_what_it_says() -> None:
    config = compose(["experiment=demo", "parallelism=auto"])
    assert "training.micro_batch_size" not in config.auto and config.training.micro_batch_size == 4
    assert "training.recompute" in config.auto


def test_a_preset_does_not() -> None:
    assert "training.micro_batch_size" in compose([*large("gpt3_175b", 64), "parallelism=auto"]).auto


def test_where_no_time_is_known_nothing_is_computed_twice() -> None:
    plan = make_plan(compose(["model=demo", "parallelism=auto", "resources.devices_per_node=4"]))
    assert plan.time.seconds_per_step is None
    assert plan.config.training.recompute != "full"
    assert (plan.data_parallel_size, plan.model_parallel_size) == (4, 1)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run with a layout that no search would choose."""
    words = [word for word in GPT if word != "parallelism=auto"]
    forced = [*words, "parallelism=tp2", "training.micro_batch_size=2", "training.recompute=full"]
    plan = make_plan(compose([*forced, f"run.dir={tmp_path}"]))
    plan_file.write(plan, RunDir(tmp_path).plan)
    return tmp_path


def test_a_run_stays_with_its_plan(begun: Path) -> None:
    plan = plan_of(compose([*GPT, f"run.dir={begun}", "training.seed=7"]))
    assert plan.config.parallelism.tensor_model_parallel_size == 2
    assert plan.config.training.micro_batch_size == 2
    assert plan.config.training.recompute == "full"
    assert plan.config.training.seed == 7
    assert plan.choice is not None and plan.choice.kept and plan.config.auto == []
    again = plan_file.read(_written(plan, begun / "again.json"))
    assert again == plan


def _written(plan, path: Path) -> Path:  # noqa: ANN001
    plan_file.write(plan, path)
    return path


def test_the_plan_that_a_job_carries_stays_with_it_too(begun: Path) -> None:
    searched = make_plan(compose([*GPT, f"run.dir={begun}"]))
    assert searched.config.parallelism.tensor_model_parallel_size != 2
    kept = stay(searched)
    assert kept.config.parallelism.tensor_model_parallel_size == 2
    assert stay(kept) == kept
    explicit = make_plan(compose(["model=demo", f"run.dir={begun}"]))
    assert stay(explicit) is explicit


def test_what_is_given_later_wins_and_its_rules_hold(begun: Path) -> None:
    words = [*GPT, f"run.dir={begun}"]
    plan = plan_of(compose([*words, "training.micro_batch_size=4"]))
    assert plan.config.training.micro_batch_size == 4
    assert plan.config.parallelism.tensor_model_parallel_size == 2
    with refused("training.global_batch_size", value=24):
        plan_of(compose([*words, "training.micro_batch_size=5"]))


def test_a_run_that_shrank_grows_again(tmp_path: Path) -> None:
    """The wish of resources.elastic is what the run began with, not what fewer devices made of it."""
    words = [
        *GPT,
        f"run.dir={tmp_path}",
        "resources.elastic=true",
        "parallelism.tensor_model_parallel_size=4",
    ]
    first = make_plan(compose(words))
    plan_file.write(first, RunDir(tmp_path).plan)
    shrunk = plan_of(elastic.on_machines(compose(words), 1, 3))
    assert shrunk.changes and shrunk.choice is not None
    plan_file.write(shrunk, RunDir(tmp_path).plan)
    assert plan_of(compose(words)).config == first.config


@pytest.mark.parametrize(
    "text", ["", "[]", '{"config": {}}', '{"config": {"parallelism": 3, "training": {}}}']
)
def test_a_plan_that_is_none_is_not_searched_over(tmp_path: Path, text: str) -> None:
    RunDir(tmp_path).plan.write_text(text)
    with refused(RunDir(tmp_path).plan):
        plan_of(compose([*GPT, f"run.dir={tmp_path}"]))


def test_plan_and_launch_say_which_and_why(begun: Path, capsys, tmp_path: Path) -> None:
    assert main(["plan", *GPT]) == 0
    assert "the fastest of" in capsys.readouterr().out.replace("\n", " ")
    slurm = [
        *GPT,
        "cluster=juwels_booster",
        "launch.account=a",
        "launch.workdir=/p",
        f"run.dir={tmp_path / 'new'}",
    ]
    assert main(["launch", *slurm]) == 0
    told = capsys.readouterr()
    assert "parallelism=auto" in told.err
    carried, _ = json.JSONDecoder().raw_decode(told.out[told.out.index('{\n "config"') :])
    assert carried["choice"]["why"] and carried["config"]["auto"] == []
    assert main(["launch", *slurm[:-1], f"run.dir={begun}"]) == 0
    assert "as the run began" in " ".join(capsys.readouterr().err.split())
