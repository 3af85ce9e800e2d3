import pytest

from refusals import refused
from slipway.bench.scaling.sizes import JOB_MINUTES, STRONG, WEAK, Asked, Size, composed, points, sizes

GPT = ["model=gpt3_125m", "training.micro_batch_size=1", "training.global_batch_size=8"]
JUWELS = ["cluster=juwels_booster", *GPT]
TP2 = ["parallelism.tensor_model_parallel_size=2"]


def test_both_scalings_begin_with_the_same_measurement() -> None:
    found = points(Asked(GPT, ranks=[1, 2, 4]))
    batches = [(one.scalings, one.size.devices, one.plan.config.training.global_batch_size) for one in found]
    assert batches == [
        ((STRONG, WEAK), 1, 8),
        ((STRONG,), 2, 8),
        ((STRONG,), 4, 8),
        ((WEAK,), 2, 16),
        ((WEAK,), 4, 32),
    ]
    assert [one.plan.data_parallel_size for one in found] == [1, 2, 4, 2, 4]


def test_what_devices_grow_by_goes_to_data_parallelism() -> None:
    found = points(Asked([*JUWELS, *TP2], nodes=[1, 2, 4], scalings=[WEAK]))
    assert [one.plan.world_size for one in found] == [4, 8, 16]
    assert [one.plan.data_parallel_size for one in found] == [2, 4, 8]
    assert [one.plan.num_microbatches for one in found] == [4, 4, 4]


@pytest.mark.parametrize(
    ("words", "ranks", "nodes", "expected"),
    [
        (JUWELS, None, None, [Size(1, 1), Size(1, 2), Size(1, 4)]),
        ([*JUWELS, *TP2], None, None, [Size(1, 2), Size(1, 4)]),
        ([*JUWELS, "resources.nodes=6"], None, None, [Size(1, 4), Size(2, 4), Size(4, 4), Size(6, 4)]),
        (JUWELS, [2, 8], None, [Size(1, 2), Size(2, 4)]),
        (JUWELS, None, [1, 3], [Size(1, 4), Size(3, 4)]),
        (GPT, [1, 64], None, [Size(1, 1), Size(1, 64)]),  # no scheduler: all ranks are here
        ([], None, None, [Size(1, 1), Size(1, 2)]),
    ],
)
def test_sizes(
    words: list[str], ranks: list[int] | None, nodes: list[int] | None, expected: list[Size]
) -> None:
    asked = Asked(words, ranks, nodes)
    assert sizes(asked, composed(asked)) == expected


def test_jobs_are_short_and_no_chain_unless_a_time_is_asked_for() -> None:
    launches = [one.plan.config.launch for one in points(Asked(JUWELS, nodes=[1, 2]))]
    assert {(launch.time_limit, launch.chain) for launch in launches} == {(JOB_MINUTES, 1)}
    longer = points(Asked([*JUWELS, "launch.time_limit=50"], nodes=[1, 2]))
    assert {one.plan.config.launch.time_limit for one in longer} == {50}


@pytest.mark.parametrize(
    ("asked", "path", "facts"),
    [
        (Asked([*GPT, *TP2], ranks=[1, 2]), "parallelism", ["tensor 2", "strong scaling on 1 devices"]),
        (
            Asked(GPT, ranks=[1, 3], scalings=[STRONG]),
            "training.global_batch_size",
            ["micro_batch_size 1 x data parallel 3 = 3", "strong scaling on 3 devices"],
        ),
        (
            Asked(GPT, ranks=[3, 4], scalings=[WEAK]),
            "training.global_batch_size",
            ["8 x 4 devices / 3 = 10.6667"],
        ),
        (Asked(GPT, ranks=[4]), "bench scaling", ["resources.nodes 1", "--ranks 1,2,4"]),
        (Asked(GPT), "bench scaling", ["devices_per_node 1"]),
        (Asked(GPT, ranks=[1, 2], nodes=[1, 2]), "bench scaling --ranks", ["--nodes"]),
        (Asked(JUWELS, ranks=[4, 6]), "bench scaling --ranks", ["6 ranks = 1 nodes x 4 devices + 2"]),
        (Asked(GPT, ranks=[1, 2], scalings=["linear"]), "bench scaling --scaling", ["linear", "strong,weak"]),
        (Asked([*GPT, "run.dir=there"], ranks=[1, 2]), "run.dir", ["--out"]),
        (Asked([*JUWELS, "launch.chain=3"], ranks=[1, 2]), "launch.chain", []),
        (Asked(JUWELS, nodes=[1, 1000]), "resources.nodes", [1000, 936]),
    ],
)
def test_what_cannot_be_measured_is_refused_first(asked: Asked, path: str, facts: list[object]) -> None:
    with refused(path, *facts):
        points(asked)
