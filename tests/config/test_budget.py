"""How long a run is: steps, samples, or units by their name; each gives the others."""

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusals import refused
from slipway.checkpoint import store
from slipway.config import budget
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.config.sweep_compose import compose_sweep
from slipway.errors import UserError
from slipway.plan import make_plan, plan_file

PRESET = ["model=llama3_8b", "data=stdlib", "data.allow_large_models=true", "resources.devices_per_node=8"]


@cache
def demo() -> RunConfig:
    return compose([])


def changed(config: RunConfig, section: str, **values: object) -> RunConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def with_budget(batch: int, length: int, **asked: int) -> RunConfig:
    config = changed(demo(), "data", sequence_length=length)
    return budget.resolved(changed(config, "training", global_batch_size=batch, **asked))


@given(st.integers(1, 3000), st.integers(1, 8192), st.integers(1, 10**15))
def test_budgets_agree(batch: int, length: int, tokens: int) -> None:
    """The steps are the fewest that hold what was asked for, and what they hold asks for as many steps."""
    steps = with_budget(batch, length, units=tokens).training.steps
    assert (steps - 1) * batch * length < tokens <= steps * batch * length
    assert with_budget(batch, length, samples=steps * batch).training.steps == steps
    assert with_budget(batch, length, samples=(steps - 1) * batch + 1).training.steps == steps
    assert with_budget(batch, length, units=steps * batch * length).training.steps == steps
    assert with_budget(batch, length, steps=steps).training.steps == steps


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 300)), max_size=4), st.integers(1, 300))
def test_a_budget_that_other_batches_have_used(behind: list[tuple[int, int]], batch: int) -> None:
    """The steps that the error gives read what was asked for, and less than one batch more."""
    step, samples, length = sum(n for n, _ in behind), sum(n * size for n, size in behind), 7
    asked = samples + 1000
    budget.check_batches(with_budget(batch, length, steps=step + 1), step, samples)
    for given_as in ({"samples": asked}, {"units": asked * length}):
        config = with_budget(batch, length, **given_as)
        if samples == step * batch:
            budget.check_batches(config, step, samples)
            continue
        with pytest.raises(UserError) as caught:
            budget.check_batches(config, step, samples)
        named = re.search(r"training.steps=(\d+)", caught.value.do or "")
        assert named
        whole = samples + (int(named[1]) - step) * batch
        assert asked <= whole < asked + batch


def test_the_plan_has_all_three() -> None:
    plan = make_plan(compose(["training.tokens=1e6", "data.sequence_length=128"]))
    assert (plan.config.training.steps, plan.samples, plan.units) == (489, 489 * 16, 489 * 16 * 128)
    assert plan.config.training.units == 10**6  # what was asked for
    assert make_plan(compose(["training.samples=17"])).samples == 32
    assert make_plan(compose(["training.steps=3"])).units == 3 * 16 * 256


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ([], 1_200_000),
        (["training.tokens=300e9"], 71526),  # / (512 x 8192) = 71,525.57
        (["training.units=300_000_000_000"], 71526),
        (["training.samples=1e6"], 1954),
        (["training.steps=5"], 5),
        (["training.steps=1e3"], 1000),
        (["training.tokens=null"], 1_200_000),
        (["experiment=llama3_8b"], 238419),  # 1T tokens
        (["experiment=llama3_8b", "training.steps=5"], 5),
        (["experiment=llama3_8b", "training.samples=1024"], 2),
        (["experiment=llama3_8b", "+training.tokens=1e9"], 239),
        (["training.steps=null", "training.samples=512"], 1),
    ],
)
def test_the_command_line_is_nearer_than_preset_and_experiment(words: list[str], steps: int) -> None:
    common = ["training.global_batch_size=512", "data.sequence_length=8192"]
    config = compose([*PRESET, *common, *words])
    assert config.training.steps == steps
    assert sum(getattr(config.training, name) is not None for name in ("samples", "units")) <= 1


def test_each_job_of_a_sweep_has_its_own() -> None:
    jobs = compose_sweep(["training.tokens=1e6,2e6", "optimizer.lr_warmup_fraction=0.1,0.2"])
    assert [(job.training.steps, job.optimizer.lr_warmup_steps) for job in jobs] == [
        *((245, 24), (245, 49)),
        *((489, 49), (489, 98)),
    ]
    assert [job.run.name for job in jobs][0] == "demo,tokens=1000000.0,lr_warmup_fraction=0.1"


def test_a_file_that_adds_a_second_one_says_which_goes(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "long.yaml"
    file.write_text(
        "# @package _global_\ntraining: {tokens: 1.0e+9}\noptimizer: {lr_warmup_fraction: 0.01}\n"
    )
    words = [*PRESET, "experiment=long"]
    with refused("training.tokens", "training.steps", value=1e9, use="null"):
        compose(words, tmp_path)
    file.write_text(
        "# @package _global_\ntraining: {tokens: 1.0e+9, steps: null}\n"
        "optimizer: {lr_warmup_fraction: 0.01, lr_warmup_steps: 9}\n"
    )
    with refused("optimizer.lr_warmup_fraction", "optimizer.lr_warmup_steps", 9, value=0.01, use="null"):
        compose(words, tmp_path)
    assert compose([*words, "optimizer.lr_warmup_fraction=0.02"], tmp_path).optimizer.lr_warmup_steps > 1
    assert compose([*words, "training.steps=2000", "optimizer.lr_warmup_steps=9"], tmp_path).last_step == 2000


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["training.steps=1", "training.tokens=2"], "training.tokens", ["training.steps"]),
        (["training.tokens=2", "training.samples=1"], "training.samples", ["training.tokens"]),
        (["training.units=2", "training.tokens=2"], "training.tokens", ["training.units"]),
        (["training.steps=null"], "training.steps", ["training.samples", "training.tokens"]),
        (["training.tokens=1.5"], "training.tokens", [1.5]),
        (["training.tokens=0"], "training.tokens", [0]),
        (["training.units=-4"], "training.units", [-4]),
        (["training.tokens="], "training.tokens", []),
        (["training.token=5"], "training.token", []),
    ],
)
def test_what_is_no_budget_is_refused_by_its_own_name(words: list[str], path: str, facts: list) -> None:
    with refused(path, *facts):
        compose(words)


def test_shares_of_the_schedule_follow_the_steps() -> None:
    words = [
        "optimizer=adamw_wsd",
        "optimizer.lr_warmup_fraction=0.05",
        "optimizer.lr_wsd_decay_fraction=0.2",
    ]
    short, long = (compose([*words, f"training.steps={steps}"]).optimizer for steps in (100, 1000))
    assert (short.lr_warmup_steps, short.lr_wsd_decay_steps) == (5, 20)
    assert (long.lr_warmup_steps, long.lr_wsd_decay_steps) == (50, 200)
    assert compose(["optimizer.lr_warmup_fraction=1e-9"]).optimizer.lr_warmup_steps == 1
    with refused("optimizer.lr_wsd_decay_fraction", "cosine", value=0.2, use="WSD"):
        make_plan(compose(["optimizer.lr_wsd_decay_fraction=0.2"]))


def test_a_plan_is_read_as_it_was_written_and_not_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan = make_plan(compose(["training.tokens=1e6", "optimizer.lr_warmup_fraction=0.1"]))
    plan_file.write(plan, path)
    assert plan_file.read(path) == plan
    with refused("training.steps", 245, value=246, use=245):
        plan_file.read(path, ["config.training.steps=246"])
    with refused("optimizer.lr_warmup_steps", 0.1, 245, value=3, use=24):
        plan_file.read(path, ["config.optimizer.lr_warmup_steps=3"])


def test_a_continued_run_has_at_least_the_steps_that_are_done(tmp_path: Path) -> None:
    def fits(word: str) -> None:
        config = compose([word])
        info = store.CheckpointInfo.model_construct(
            step=20, shape=store.models.shape(config), precision=config.training.precision
        )
        store.check_fits(info, config, tmp_path)

    fits("training.steps=20")
    fits("training.tokens=81920")
    fits("training.samples=1000")
    with refused("training.steps", 20, value=19, use=20):
        fits("training.steps=19")
    with refused("training.tokens", 20, 19, value=77824, use=81920):
        fits("training.tokens=77824")
    with refused("training.samples", 20, 19, value=300, use=320):
        fits("training.samples=300")


def test_it_is_said_what_was_rounded() -> None:
    assert budget.in_words(demo()) is None
    line = budget.in_words(compose(["training.tokens=1e6"]))
    assert line is not None and all(
        fact in line
        for fact in ("training.tokens 1,000,000", "244.14 steps", "16 samples x 256 tokens", "245")
    )
    whole = budget.in_words(compose(["training.samples=32"]))
    assert whole == "training.samples 32 = 2 steps of 16 samples"
