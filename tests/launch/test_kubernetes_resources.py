"""What pods ask of nodes: enough to be taken seriously, no more than is there, and the sum of it of a gang."""

import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.test_kubernetes import KINDS, PROFILES, base, changed, one, pod_template, render
from refusals import refused
from slipway.launch.placement import place
from slipway.launch.summary import rows

UNITS = {"m": Fraction(1, 1000), "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
RUNS = list(itertools.product(PROFILES, KINDS))


def number(quantity: str) -> Fraction:
    """As the API reads it (kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity)."""
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return Fraction(quantity.removesuffix(unit)) * factor
    return Fraction(quantity)


def resources(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all containers of the pods."""
    spec = pod_template(found)["spec"]
    every = [
        container.get("resources") for container in [*spec.get("initContainers", []), *spec["containers"]]
    ]
    trainers = [m["spec"]["trainer"]["resourcesPerNode"] for m in found if m["kind"] == "TrainJob"]
    return [one for one in every if one is not None] + trainers


@pytest.mark.parametrize(("profile", "kind"), RUNS)
def test_no_pod_is_the_first_to_be_evicted(profile: str, kind: str) -> None:
    """All containers ask for cpu and memory; of a node that is known, for a part of it and not for more."""
    plan = changed(base(profile), launch={"kind": kind, "preflight": True})
    found, node = render(plan), plan.config.cluster.node
    asked = resources(found)
    assert len(asked) == 2 and asked[0] == asked[1]
    requests, limits = asked[0]["requests"], asked[0]["limits"]
    assert number(requests["cpu"]) > 0 and number(requests["memory"]) > 0
    assert all(requests[name] == amount for name, amount in limits.items())
    assert requests["nvidia.com/gpu"] == "8"
    if profile == "kubernetes":
        assert not {"cpu", "memory"} & limits.keys()
    else:
        assert node.cores and node.memory_gib
        assert node.cores / 2 < number(limits["cpu"]) < node.cores
        assert node.memory_gib / 2 < number(limits["memory"]) / 2**30 < node.memory_gib
    (shm,) = [v for v in pod_template(found)["spec"]["volumes"] if v["name"] == "shm"]
    assert "memory" not in limits or number(shm["emptyDir"]["sizeLimit"]) < number(limits["memory"])


@given(
    cores=st.integers(1, 512),
    memory=st.floats(1, 4096),
    share=st.floats(0.05, 1),
    of_node=st.integers(1, 16),
    devices=st.integers(1, 16),
)
@settings(max_examples=60)
def test_as_many_pods_as_a_node_has_room_for_fit_on_it(
    cores: int, memory: float, share: float, of_node: int, devices: int
) -> None:
    devices = min(devices, of_node)
    plan = changed(
        base(devices=8),
        resources={"devices_per_node": devices},
        cluster={
            "devices_per_node": of_node,
            "node": {"cores": cores, "memory_gib": memory},
            "kubernetes": {"node_share": share, "shm_gib": 0.001, "resources": {"rdma/ib": str(of_node)}},
        },
    )
    limits, pods = resources(render(plan))[0]["limits"], of_node // devices
    assert 0 < number(limits["cpu"]) * pods <= cores * Fraction(str(share)) + Fraction(1, 10**6)
    assert number(limits["memory"]) * pods <= Fraction(memory) * 2**30
    assert number(limits["rdma/ib"]) * pods <= of_node


@pytest.mark.parametrize("profile", PROFILES)
def test_a_gang_needs_what_its_pods_ask_for(profile: str) -> None:
    found = render(changed(base(profile, nodes=4), cluster={"kubernetes": {"queueing": "volcano"}}))
    needed, asked = one(found, "PodGroup")["spec"]["minResources"], resources(found)[0]["requests"]
    assert {name: number(amount) for name, amount in needed.items()} == {
        name: 4 * number(amount) for name, amount in asked.items()
    }


def test_what_a_profile_says_goes_before_the_node() -> None:
    more = {"kubernetes": {"resources": {"memory": "100Gi", "cpu": "7"}}}
    limits = resources(render(changed(base("aks"), cluster=more)))[0]["limits"]
    assert (limits["cpu"], limits["memory"]) == ("7", "100Gi")


def test_half_the_devices_get_half_the_node_and_half_of_what_is_in_its_memory() -> None:
    whole, half = render(base("gke")), render(base("gke", devices=4))
    for name in ("cpu", "memory"):
        of_whole, of_half = (number(resources(found)[0]["limits"][name]) for found in (whole, half))
        assert of_whole / 2 - 2**30 <= of_half <= of_whole / 2 + 1
    sizes = [
        number(volume["emptyDir"]["sizeLimit"])
        for found in (whole, half)
        for volume in pod_template(found)["spec"]["volumes"]
        if volume["name"] == "shm"
    ]
    assert sizes == [250 * 2**30, 125 * 2**30]


def test_shared_memory_that_would_use_up_the_pods_memory_is_refused() -> None:
    node = {"node": {"cores": 8, "memory_gib": 256}, "kubernetes": {"shm_gib": 250}}
    with refused("cluster.kubernetes.shm_gib", "shm_gib", "/dev/shm", 250, "230Gi"):
        render(changed(base(), cluster=node))


def test_the_summary_has_the_arithmetic() -> None:
    plan = base("aks", devices=4)
    shown = dict(rows([plan], place(plan.config), plan.config.run.dir))["each pod"]
    for words in ("cpu 43", "memory 855Gi", "rdma/ib 4", "90%", "1/2", "96 cores", "1900 GiB"):
        assert words in shown
    plan = base()
    shown = dict(rows([plan], place(plan.config), plan.config.run.dir))["each pod"]
    assert "cluster.node.cores" in shown and "cluster.node.memory_gib" in shown
