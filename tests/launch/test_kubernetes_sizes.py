"""How large manifests and names get, and what is said where that is too large."""

import json
from typing import Any

import pytest

from launch.test_kubernetes import base, changed, one, pod_template, render
from refusals import refused
from slipway.launch.kubernetes import names
from slipway.plan import Plan

CONFIG_MAP = 1_048_576  # kubernetes.io/docs/concepts/configuration/configmap: 1 MiB
WORD = 131_072  # Linux: MAX_ARG_STRLEN, 32 pages


def with_inputs(count: int, length: int = 60, base_plan: Plan | None = None) -> Plan:
    inputs = [f"{index:06d}-".ljust(length, "x") for index in range(count)]
    return changed(base_plan or base("gke"), data={"sources": {"stdlib": {"inputs": inputs}}})


def test_thousands_of_inputs_fit() -> None:
    """More than the annotation that `kubectl apply` makes on the client's side could hold."""
    data = one(render(with_inputs(4500)), "ConfigMap")["data"]["plan.json"]
    assert len(json.loads(data)["config"]["data"]["sources"]["stdlib"]["inputs"]) == 4500
    assert 262_144 < len(data.encode()) < CONFIG_MAP


def test_the_limit_of_a_config_map_is_exact() -> None:
    """One byte more than 1 MiB is refused with the arithmetic and what to do; as many are taken."""
    size = len(one(render(with_inputs(10)), "ConfigMap")["data"]["plan.json"].encode())
    left = CONFIG_MAP - size
    fitting = with_inputs(10, 60 + left // 10)
    room = CONFIG_MAP - len(one(render(fitting), "ConfigMap")["data"]["plan.json"].encode())
    assert 0 <= room < 10
    with refused("plan.json in a ConfigMap", "1,048,576"):
        render(with_inputs(10, 60 + left // 10 + 1))
    with refused("plan.json in a ConfigMap", use=["30,000", "data.sources.stdlib"]):
        render(with_inputs(30_000))


def test_a_word_that_no_process_could_be_given_is_refused() -> None:
    """What differs between the jobs of a sweep goes into arguments, of which Linux takes 128 KiB each."""
    few, many = with_inputs(1000, base_plan=base()), with_inputs(2500, base_plan=base())
    words = pod_template(render(base(), few)[1:][1:])["spec"]["containers"][0]["args"]
    assert 60_000 < max(len(word) for word in words) < WORD
    with refused('config.data.sources.stdlib.inputs=["0000...', "131,072"):
        render(base(), many)
    assert render(many, many)  # what all jobs have is in the ConfigMap


@pytest.mark.parametrize("runs", [2, 10, 100, 1001, 10_001])
def test_a_sweeps_name_is_a_label_whatever_is_counted_in_it(runs: int) -> None:
    name = names.sweep_name(["x" * 200, *map(str, range(runs - 1))])
    assert len(name) <= 63 and names.is_label_value(name) and f"-and-{runs - 1}-" in name


@pytest.mark.parametrize("nodes", [1, 10, 11, 1000, 100_000])
def test_the_longest_name_of_a_run_leaves_room_for_what_is_appended(nodes: int) -> None:
    """Of pods (host names and, with five more characters, objects), Services, and labels of the controllers."""
    name: Any = names.resource_name("y" * 200, nodes)
    assert len(f"{name}-node-0-{nodes - 1}-x75z2") <= 63 and len(f"{name}-{nodes - 1}") <= 63
