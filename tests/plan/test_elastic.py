"""Layouts fitted to the devices that are there."""

import time
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import large
from refusals import missing, refused
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.plan import elastic, make_plan, rules
from slipway.plan.change import describe_change
from slipway.plan.plan import Plan, replan

SHORT = {
    "tp": "tensor_model_parallel_size",
    "pp": "pipeline_model_parallel_size",
    "vpp": "virtual_pipeline_model_parallel_size",
    "cp": "context_parallel_size",
    "ep": "expert_model_parallel_size",
    "sp": "sequence_parallel",
    "distopt": "use_distributed_optimizer",
}
BASES = {
    "demo": ["model=demo"],
    "moe": [
        "model=demo",
        "model.num_moe_experts=8",
        "model.moe_router_topk=2",
        "model.add_bias_linear=false",
    ],
    "13b": large("gpt3_13b", nodes=32),
    "175b": large("gpt3_175b", nodes=128),
}


@cache
def base_of(name: str) -> RunConfig:
    """A base model, composed once, and not while tests are collected."""
    return compose([*BASES[name], "resources.elastic=true"])


def config(
    base: str, machines: tuple[int, int], batch: int = 16, micro: int = 1, **sizes: int | bool
) -> RunConfig:
    """A base model on other machines; sizes by their short names, all others 1."""
    it = base_of(base)
    return elastic.on_machines(it, *machines).model_copy(
        update={
            "training": it.training.model_copy(
                update={"global_batch_size": batch, "micro_batch_size": micro}
            ),
            "parallelism": Parallelism(**{SHORT[name]: size for name, size in sizes.items()}),  # type: ignore[arg-type]
        }
    )


def sizes_of(fitted: RunConfig) -> dict[str, int]:
    """Sizes other than 1, by their short names, with the data-parallel and the micro-batch size."""
    found = {name: int(getattr(fitted.parallelism, field) or 1) for name, field in SHORT.items()}
    found |= {"dp": rules.data_parallel_size(fitted), "micro": fitted.training.micro_batch_size}
    return {name: size for name, size in found.items() if size > 1}


TP2_PP2 = {"tp": 2, "pp": 2}
CASES = [
    ("fewer: data first", config("demo", (1, 4), **TP2_PP2), {"tp": 2, "pp": 2}),
    ("more: data first", config("demo", (1, 16), **TP2_PP2), {"tp": 2, "pp": 2, "dp": 4}),
    ("tensor stays, pipeline goes", config("demo", (1, 2), **TP2_PP2), {"tp": 2}),
    ("one device", config("demo", (1, 1), sp=True, **TP2_PP2), {}),
    ("micro-batch before all", config("demo", (1, 8), micro=4, batch=16), {"dp": 8, "micro": 2}),
    ("virtual before pipeline", config("demo", (1, 8), batch=4, pp=2, vpp=2), {"pp": 2, "dp": 4}),
    ("more than the batch: the pipeline grows", config("demo", (1, 8), batch=4), {"pp": 2, "dp": 4}),
    ("no divisor of three", config("demo", (1, 6), batch=24, tp=4, pp=2), {"tp": 2, "dp": 3}),
    ("context becomes a divisor", config("demo", (1, 2), cp=4), {"cp": 2}),
    ("experts become a divisor", config("moe", (1, 4), ep=8), {"ep": 4, "dp": 4}),
    ("experts before tensor", config("moe", (1, 4), ep=4, tp=2, sp=True), {"ep": 4, "dp": 4}),
    ("whole groups on a node", config("demo", (3, 2), batch=24, tp=4, pp=1), {"tp": 2, "dp": 3}),
    (
        "memory: too much for one device",
        config("13b", (1, 8), distopt=True),
        {"pp": 2, "dp": 4},
    ),
]


@pytest.mark.parametrize(
    ("before", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_chosen(before: RunConfig, expected: dict[str, int]) -> None:
    fitted, changes = elastic.fit(before)
    assert sizes_of(fitted) == expected
    assert len(changes) == sum(
        getattr(elastic.Layout.of(before), name) != getattr(elastic.Layout.of(fitted), name)
        for name in elastic.Layout._fields
    ) + (before.parallelism.sequence_parallel and not fitted.parallelism.sequence_parallel)


def test_the_change_is_said_with_its_arithmetic() -> None:
    _, changes = elastic.fit(config("demo", (1, 6), batch=24, sp=True, **{"tp": 4, "pp": 2}))
    expected = [
        ("parallelism.tensor_model_parallel_size 4 -> 2: ", "tensor 4 x pipeline 1 x context 1 = 4"),
        ("parallelism.pipeline_model_parallel_size 2 -> 1: ", "tensor 2 x pipeline 2 x context 1 = 4"),
    ]
    for change, (field, arithmetic) in zip(changes, expected, strict=True):
        assert change.startswith(field) and not missing(change, [arithmetic, "6 = 1 nodes x 6 devices"])
    _, changes = elastic.fit(config("demo", (1, 1), sp=True, tp=2))
    assert changes[-1].startswith("parallelism.sequence_parallel true -> false: ")


def test_stages_that_share_the_layers_evenly_come_first() -> None:
    """Three stages of the four layers are nearer to two than one stage is, but taken where nothing else is left."""
    fitted, _ = elastic.fit(config("demo", (1, 6), batch=24, tp=4, pp=2))
    assert sizes_of(fitted) == {"tp": 2, "dp": 3}
    fitted, _ = elastic.fit(config("demo", (1, 6), batch=2, tp=1, pp=2))
    assert sizes_of(fitted) == {"pp": 3, "dp": 2}
    wished = config("demo", (1, 6), batch=24, pp=3)
    assert elastic.fit(wished) == (wished, [])


def test_a_forced_layout_goes_with_its_stages() -> None:
    whole = config("demo", (1, 4), pp=2)
    forced = whole.model_copy(
        update={"parallelism": whole.parallelism.model_copy(update={"pipeline_layout": [1, 3]})}
    )
    fitted, changes = elastic.fit(forced)
    assert (fitted.parallelism.pipeline_layout, changes) == ([1, 3], [])
    fitted, changes = elastic.fit(elastic.on_machines(forced, 1, 1))
    assert fitted.parallelism.pipeline_layout is None
    assert changes[-1].startswith("parallelism.pipeline_layout [1, 3] -> null: ")
    plan = make_plan(forced)
    part = replan(plan, 1, 1)
    assert part.config.parallelism.pipeline_layout is None
    assert replan(part, 1, 4) == plan


def test_what_is_sharded_stays_so_while_there_is_somebody_to_share_with() -> None:
    def shrunk(devices: int, **sizes: int) -> tuple[RunConfig, list[str]]:
        overrides = [f"parallelism.{SHORT[name]}={size}" for name, size in sizes.items()]
        whole = compose(["model=demo", "parallelism=zero3", "resources.devices_per_node=8", *overrides])
        return elastic.fit(elastic.on_machines(whole, 1, devices))

    fitted, changes = shrunk(4, tp=2)
    assert (fitted.parallelism.data_parallel_sharding_strategy, changes) == ("optim_grads_params", [])
    fitted, changes = shrunk(2, tp=2)
    assert fitted.parallelism.tensor_model_parallel_size == 2  # sizes are dearer
    assert fitted.parallelism.data_parallel_sharding_strategy is None
    fitted, changes = shrunk(1)
    assert fitted.parallelism.data_parallel_sharding_strategy is None
    (change,) = changes
    assert change.startswith("parallelism.data_parallel_sharding_strategy optim_grads_params -> null: ")


def test_memory_is_a_reason() -> None:
    before = config("13b", (1, 8), tp=2)
    fitted, changes = elastic.fit(before)
    assert make_plan(before).memory.fits and make_plan(fitted).memory.fits
    assert not missing(changes[0], ["79.0 GiB"])


def test_where_no_layout_fits_the_memory_the_nearest_stays() -> None:
    before = config("175b", (1, 8), tp=8, pp=1)
    assert elastic.fit(before) == (before, [])
    assert make_plan(before).memory.fits is False


def test_no_layout_names_its_neighbours() -> None:
    with refused("resources", "nodes 1 x devices_per_node 7", "training.global_batch_size 16", use=[6, 8]):
        elastic.fit(config("demo", (1, 7), micro=2))
    with refused("resources", use=[100, 102]):  # 96 layers, embedding and head are enough for 98 stages
        elastic.fit(config("175b", (101, 1), batch=1536))


def test_what_no_layout_mends_is_said_as_it_is() -> None:
    it = config("demo", (1, 8), tp=3)
    late = it.optimizer.model_copy(update={"lr_warmup_steps": it.training.steps})
    with refused("optimizer.lr_warmup_steps", value=200):
        elastic.fit(it.model_copy(update={"optimizer": late}))
    juwels = compose(["cluster=juwels_booster", "resources.nodes=1000", "resources.elastic=true"])
    with refused("resources.nodes", 936, value=1000):
        elastic.fit(juwels)


def test_without_elastic_nothing_is_fitted() -> None:
    with refused("parallelism", 2):
        make_plan(compose(["parallelism.tensor_model_parallel_size=2"]))


configs = st.builds(
    config,
    st.sampled_from(["demo", "moe", "13b"]),
    st.tuples(st.sampled_from([1, 1, 1, 2, 3, 8]), st.integers(1, 8)),
    batch=st.sampled_from([1, 6, 8, 16, 24, 96, 1024]),
    micro=st.sampled_from([1, 2, 3, 4]),
    tp=st.sampled_from([1, 2, 4, 8]),
    pp=st.sampled_from([1, 2, 3, 4]),
    vpp=st.sampled_from([1, 2]),
    cp=st.sampled_from([1, 2, 4]),
    ep=st.sampled_from([1, 2, 8]),
    sp=st.booleans(),
    distopt=st.booleans(),
)


@settings(max_examples=150)
@given(configs)
def test_every_result_is_a_plan_of_the_same_run(before: RunConfig) -> None:
    try:
        rules.check(before)
        wish_is_allowed = True
    except UserError:
        wish_is_allowed = False
    try:
        fitted, changes = elastic.fit(before)
    except UserError:
        assert not wish_is_allowed
        return
    plan = make_plan(before)
    assert plan.config == fitted and plan.changes == changes
    assert plan.world_size == before.resources.nodes * before.resources.devices_per_node
    assert plan.num_microbatches * fitted.training.micro_batch_size * plan.data_parallel_size == (
        before.training.global_batch_size
    )
    assert elastic.fit(fitted) == (fitted, [])
    assert bool(changes) == (fitted != before)
    kept = before.training.model_copy(update={"micro_batch_size": fitted.training.micro_batch_size})
    assert fitted == before.model_copy(update={"parallelism": fitted.parallelism, "training": kept})
    if wish_is_allowed and make_plan(_plain(before)).memory.fits is not False:
        assert not changes
    if wish_is_allowed and plan.memory.fits is False:
        assert not changes  # nothing fits, so nothing is better than the wish


def _plain(it: RunConfig) -> RunConfig:
    return it.model_copy(update={"resources": it.resources.model_copy(update={"elastic": False})})


@settings(max_examples=50)
@given(configs, st.integers(1, 8))
def test_a_run_that_shrank_grows_again(before: RunConfig, fewer: int) -> None:
    nodes, node = before.resources.nodes, before.resources.devices_per_node
    try:
        whole = make_plan(before)
        part = replan(whole, 1, fewer)
    except UserError:
        return
    assert replan(part, nodes, node) == whole
    assert Plan.model_validate_json(part.model_dump_json()) == part


@pytest.mark.parametrize(
    ("base", "machines", "sizes"),
    [
        ("175b", (128, 8), {"tp": 8, "pp": 8, "vpp": 3, "sp": True, "batch": 1536}),
        ("175b", (128, 8), {"batch": 6144, "micro": 8}),
        ("13b", (256, 4), {"tp": 2, "pp": 2, "vpp": 2, "cp": 4, "micro": 8, "batch": 1024}),
        ("175b", (127, 8), {"tp": 8, "batch": 1536}),
    ],
)
def test_fast(base: str, machines: tuple[int, int], sizes: dict[str, int]) -> None:
    it = config(base, machines, **sizes)
    seconds = []
    for _ in range(3):
        started = time.process_time()
        with suppress(UserError):
            elastic.fit(it)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.5  # 0.02 to 0.05 s on a quiet machine


@pytest.mark.parametrize(
    ("world", "before", "now", "changes"),
    [
        (8, TP2_PP2, config("demo", (1, 8), **TP2_PP2), None),
        (8, {**TP2_PP2, "vpp": 1}, config("demo", (1, 8), **TP2_PP2), None),
        (
            8,
            TP2_PP2,
            config("demo", (1, 4), **TP2_PP2),
            ["8 -> 4", "2 -> 1", "tensor 2", "pipeline 2", "16 = 1 replica x 16 microbatches x 1"],
        ),
        (
            8,
            {"tp": 4, "sp": True},
            config("demo", (1, 8), micro=2, distopt=True),
            [
                "2 -> 8",
                "tensor 4 -> 1",
                "sequence_parallel true -> false",
                "use_distributed_optimizer false -> true",
                "8 devices",
                "16 = 8 replicas x 1 microbatch x 2",
            ],
        ),
        (
            2,
            {},
            compose(["model=demo", "parallelism=zero2", "resources.devices_per_node=2"]),
            [
                "use_distributed_optimizer false -> true",
                "data_parallel_sharding_strategy null -> optim_grads",
                "overlap_grad_reduce false -> true",
                "overlap_param_gather false -> true",
                "2 devices",
                "16 = 2 replicas x 4 microbatches x 2",
            ],
        ),
        (
            1,
            {},
            config("demo", (1, 2)),
            ["1 -> 2", "16 = 2 replicas x 8 microbatches x 1"],
        ),
    ],
)
def test_a_continuation_says_what_changed(
    world: int, before: dict[str, int], now: RunConfig, changes: list[str] | None
) -> None:
    sizes = Parallelism(**{SHORT[name]: size for name, size in before.items()})  # type: ignore[arg-type]
    line = describe_change(world, sizes, make_plan(now))
    if changes is None:
        assert line is None
        return
    assert line is not None and not missing(line, changes)
    # and no other change: each has one arrow, but the devices' and the replicas', which are there together
    assert line.count(" -> ") == sum(" -> " in change for change in changes) + (changes[0] == "1 -> 2")
