"""A layout that fits nowhere: what is missing at best, and the smallest machine that would do."""

import re

import pytest

from presets import large
from refusals import check
from slipway.config.compose import compose
from slipway.plan.elastic import on_machines
from slipway.plan.search.candidate import Applied
from slipway.plan.search.evaluate import Evaluator
from slipway.plan.search.search import SPARE, search
from slipway.plan.search.shortage import fewest, no_layout
from slipway.plan.search.space import SIZES
from slipway.words import size

GIB = 2**30
ONE = "training.micro_batch_size=1"


@pytest.mark.parametrize(
    "words",
    [
        large("llama3_70b", 1),
        large("llama3_70b", 5, "juwels_booster"),
        [*large("gpt3_13b", 1, "juwels_booster"), "resources.devices_per_node=1"],
    ],
    ids=lambda words: f"{words[0]} on {words[-1]}",
)
def test_the_smallest_machine_fits_and_no_smaller_one_does(words: list[str]) -> None:
    config = compose([*words, "parallelism=auto", ONE])
    assert not search(config).layouts
    shape = fewest(config)
    assert shape is not None
    assert search(on_machines(config, *shape)).layouts
    nodes, devices = shape
    smaller = [(n, config.cluster.devices_per_node or 1) for n in range(config.resources.nodes, nodes)]
    if nodes == 1:
        smaller = [(1, n) for n in range(config.resources.devices_per_node, devices)]
    for machine in smaller:
        assert not search(on_machines(config, *machine)).layouts, machine


def test_what_is_missing_is_the_least_that_any_layout_misses() -> None:
    config = compose([*large("llama3_70b", 1), "parallelism=auto", ONE])
    found = search(config)
    enough = config.cluster.device.model_copy(update={"memory_gib": 1e6})
    roomy = config.model_copy(update={"cluster": config.cluster.model_copy(update={"device": enough})})
    applied, evaluator = Applied(config, 8), Evaluator(config)
    least = min(
        evaluator.memory(applied(layout.candidate), layout.candidate).total
        for layout in search(roomy).layouts
    )
    assert found.nearest is not None and found.nearest[0] == least
    line = str(no_layout(config, found))
    assert size(least) in line
    assert size(least - int(79 * GIB * (1 - SPARE))) in line


def test_where_more_devices_do_not_help_it_says_so() -> None:
    """The whole model on each device: too much for any number of them."""
    words = ["parallelism.tensor_model_parallel_size=1", "parallelism.pipeline_model_parallel_size=1"]
    config = compose(
        [*large("llama3_70b", 64, "juwels_booster"), "parallelism=auto", *words, "cluster.nodes=80"]
        + ["parallelism.data_parallel_sharding_strategy=null"]
    )
    assert fewest(config) is None
    assert "80" in re.findall(r"\d+", str(no_layout(config, search(config))))


def test_where_a_rule_refuses_all_it_is_named() -> None:
    config = compose(
        [
            *large("llama3_8b", 2),
            "parallelism=auto",
            ONE,
            "cluster.device.memory_gib=1000",
            "parallelism.sequence_parallel=true",
            "parallelism.data_parallel_sharding_strategy=null",
        ]
    )
    found = search(config, {SIZES["tensor"]: [1]})
    error = no_layout(config, found, {SIZES["tensor"]: [1]})
    check(error, "parallelism.sequence_parallel", f"{found.enumerated:,}")
