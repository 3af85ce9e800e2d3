from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import ON_DEMO_DATA, large
from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan import Plan, make_plan
from slipway.plan.search.candidate import Applied, Candidate
from slipway.plan.search.search import MEMORY, SPARE, Found, arrangements, ranked, search
from slipway.plan.search.space import SIZES, Space

# Small enough to plan every candidate: dense, a mixture, long sequences; devices that hold some of the layouts only.
TINY = [
    *("model=gpt3_125m", *ON_DEMO_DATA, "cluster=h100_cloud", "model.num_layers=4", "model.hidden_size=1024"),
    *("model.num_attention_heads=8", "model.kv_channels=128", "training.global_batch_size=12"),
    *("parallelism=auto", "resources.devices_per_node=4", "cluster.device.memory_gib=4.2"),
]
RUNS = {
    "dense": TINY,
    "two nodes": [*TINY, "resources.nodes=3", "cluster.device.memory_gib=4"],
    "mixture": [
        *TINY,
        "model.num_moe_experts=4",
        "model.add_bias_linear=false",
        "cluster.device.memory_gib=5.6",
    ],
    "fixed": [*TINY, "parallelism.tensor_model_parallel_size=2", "training.recompute=full"],
}


@cache
def configured(name: str) -> RunConfig:
    return compose(RUNS[name])


@cache
def outcome(name: str) -> Found:
    return search(configured(name))


def planned(config: RunConfig) -> Plan | str:
    """The plan, by the authority, or why there is none."""
    try:
        plan = make_plan(config)
    except UserError as error:
        return error.path
    assert plan.memory.device is not None
    return plan if plan.memory.largest <= (1 - SPARE) * plan.memory.device else MEMORY


@cache
def brute_force(name: str) -> dict[Candidate, Plan | str]:
    config = configured(name)
    space = Space.of(config)
    applied = Applied(config, space.world)
    return {candidate: planned(applied(candidate)) for candidate in space.candidates()}


@pytest.mark.parametrize("name", RUNS)
def test_what_fits_is_what_can_be_planned(name: str) -> None:
    """All but the layouts that shard over one replica, which are the same as without."""
    everything = brute_force(name)
    found = {layout.candidate for layout in outcome(name).layouts}
    right = {candidate for candidate, plan in everything.items() if isinstance(plan, Plan)}
    same = {candidate for candidate in right - found if candidate.sharding == "zero1"}
    assert found == right - same
    assert all(one.shares(Space.of(configured(name)).world) == 1 for one in same)
    assert {one._replace(sharding="none") for one in same} <= found
    assert 5 < len(found) < len(everything)


@pytest.mark.parametrize("name", RUNS)
def test_each_layout_costs_what_its_plan_says(name: str) -> None:
    for layout in outcome(name).layouts:
        plan = brute_force(name)[layout.candidate]
        assert isinstance(plan, Plan)
        assert layout.seconds == plan.time.seconds_per_step
        assert layout.memory == plan.memory.largest
        assert layout.config == plan.config
        assert layout.replicas == plan.data_parallel_size


@pytest.mark.parametrize("name", RUNS)
def test_the_best_is_the_fastest_plan(name: str) -> None:
    times = [plan.time.seconds_per_step for plan in brute_force(name).values() if isinstance(plan, Plan)]
    assert ranked(outcome(name).layouts)[0].seconds == min(time for time in times if time)


@pytest.mark.parametrize("name", RUNS)
def test_every_candidate_is_taken_or_refused_for_a_reason(name: str) -> None:
    found, everything = outcome(name), brute_force(name)
    assert found.enumerated == len(everything) == len(found.layouts) + sum(found.rejected.values())
    assert set(found.sentences) == set(found.rejected) - {MEMORY}
    world = Space.of(configured(name)).world
    alone = {one for one in everything if one.sharding == "zero1" and one.shares(world) == 1}
    lacking = Counter(plan for one, plan in everything.items() if isinstance(plan, str) and one not in alone)
    assert found.rejected[MEMORY] == lacking[MEMORY]
    assert found.rejected["training.global_batch_size"] > 0


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("by", ["time", "cost"])
def test_parts_sum_to_totals(name: str, by: str) -> None:
    for layout in outcome(name).layouts:
        memory, seconds = dict(layout.evaluation.memory), dict(layout.evaluation.seconds or {})
        assert memory.pop("total") == sum(memory.values())
        assert seconds.pop("total") == pytest.approx(sum(seconds.values()))
        assert all(value >= 0 for value in (*memory.values(), *seconds.values()))


def test_the_order_is_monotone() -> None:
    smaller, larger = outcome("dense").layouts, outcome("two nodes").layouts
    for by, weight in (("time", False), ("cost", True)):
        prices = [
            (layout.seconds or 0) * (layout.world if weight else 1)
            for layout in ranked([*larger, *smaller], by)  # type: ignore[arg-type]
        ]
        assert prices == sorted(prices)
        assert len(set(prices)) > 3


def test_the_order_does_not_depend_on_the_order_of_the_search() -> None:
    layouts = outcome("dense").layouts
    assert ranked(layouts) == ranked(layouts[::-1])


def test_an_arrangement_counts_once_with_its_best_variant() -> None:
    layouts = ranked(outcome("dense").layouts)
    rows = arrangements(layouts)
    assert sum(count for _, count in rows) == len(layouts) > len(rows) > 3
    assert rows[0][0] == layouts[0]
    for layout, count in rows:
        same = [one for one in layouts if one.arrangement == layout.arrangement]
        assert len(same) == count and same[0] == layout


@given(
    allowed=st.fixed_dictionaries(
        {},
        optional={
            SIZES["tensor"]: st.sampled_from([[1], [2], [1, 4]]),
            SIZES["pipeline"]: st.sampled_from([[1], [2, 4]]),
            SIZES["micro_batch"]: st.sampled_from([[1], [3], [1, 2]]),
            SIZES["recompute"]: st.sampled_from([["none"], ["full"], ["none", "full"]]),
            "parallelism.use_distributed_optimizer": st.sampled_from([[True], [False]]),
            "parallelism.data_parallel_sharding_strategy": st.sampled_from([[None], ["optim_grads", None]]),
        },
    )
)
def test_what_is_allowed_is_respected_and_nothing_else_is_lost(allowed: dict) -> None:
    found = search(configured("dense"), allowed).layouts
    whole = outcome("dense").layouts
    kept = [
        layout for layout in whole if all(_value(layout.config, field) in allowed[field] for field in allowed)
    ]
    names = {layout.candidate for layout in found}
    assert {layout.candidate for layout in kept} <= names
    assert all(_value(layout.config, field) in allowed[field] for layout in found for field in allowed)


def _value(config: RunConfig, field: str):
    section, _, name = field.partition(".")
    return getattr(getattr(config, section), name)


def test_fixed_keys_are_respected() -> None:
    layouts = outcome("fixed").layouts
    assert {layout.config.parallelism.tensor_model_parallel_size for layout in layouts} == {2}
    assert {layout.config.training.recompute for layout in layouts} == {"full"}
    assert len({layout.config.training.micro_batch_size for layout in layouts}) > 1


def test_a_switch_of_the_layout_can_be_fixed() -> None:
    found = search(compose([*TINY, "parallelism.overlap_grad_reduce=false"]))
    assert not any(layout.config.parallelism.overlap_grad_reduce for layout in found.layouts)
    assert found.rejected["parallelism.overlap_param_gather"] == 0 or found.layouts


def test_tensor_ranks_stay_in_a_node_unless_they_are_widened() -> None:
    words = [*TINY, "resources.nodes=2"]
    assert max(layout.candidate.tensor for layout in search(compose(words)).layouts) == 4
    wide = search(compose(words), {SIZES["tensor"]: [8]}).layouts
    assert {layout.candidate.tensor for layout in wide} == {8}


def test_a_mistake_that_no_layout_mends_is_told() -> None:
    with refused("optimizer.min_lr"):
        search(compose([*TINY, "optimizer.min_lr=1"]))
    with refused("resources.nodes", 936, value=2000):
        search(compose([*large("gpt3_175b", 2000, "juwels_booster"), "parallelism=auto"]))


def test_recomputing_is_searched_only_where_it_differs() -> None:
    config = compose([*TINY, "training.fp8=hybrid", "training.fp8_recipe=delayed", "training.precision=bf16"])
    assert Space.of(config).recompute == ("none", "selective", "full")
    assert {layout.config.training.recompute for layout in search(config).layouts} == {"none", "full"}
