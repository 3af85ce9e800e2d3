"""Every pod against the Pod Security Standards: at the strictest level that its fabric allows, and no other is said."""

import copy
import itertools
from typing import Any

import pytest

import pod_security
from launch.test_kubernetes import KINDS, PROFILES, base, changed, pod_template, render
from slipway.config.compose import compose
from slipway.launch.kubernetes import security
from slipway.launch.kubernetes.volume import ownership, preparation
from slipway.launch.placement import place
from slipway.launch.summary import rows
from slipway.plan import Plan


def said(plan: Plan) -> str:
    assert plan.config.cluster.kubernetes is not None
    return security.level(plan.config.cluster.kubernetes)[0]


@pytest.mark.parametrize(("profile", "kind"), list(itertools.product(PROFILES, KINDS)))
def test_only_a_fabric_takes_pods_beyond_restricted(profile: str, kind: str) -> None:
    plan = changed(base(profile), launch={"kind": kind, "preflight": True})
    spec = pod_template(render(plan))["spec"]
    assert pod_security.strictest(spec) == said(plan)
    of_the_node = {"gke"}  # gIB and the driver are mounted from the node there
    assert pod_security.strictest(spec) == ("privileged" if profile in of_the_node else "restricted")


@pytest.mark.parametrize(
    "more",
    [
        {"capabilities": ["IPC_LOCK"]},
        {"capabilities": ["CHOWN"]},
        {"capabilities": ["NET_BIND_SERVICE"]},
        {"capabilities": ["NET_BIND_SERVICE", "SYS_PTRACE"]},
        {"host_network": True},
        {"volumes": {"a": {"host_path": "/a", "mount_path": "/b"}}},
        {"volumes": {"a": {"config_map": "a", "mount_path": "/b"}}},
        {"volumes": {"a": {"claim": "a", "mount_path": "/b"}}, "capabilities": ["KILL"]},
    ],
    ids=str,
)
def test_what_a_profile_asks_for_is_what_is_said(more: dict[str, Any]) -> None:
    plan = changed(base(), launch={"preflight": True}, cluster={"kubernetes": more})
    assert pod_security.strictest(pod_template(render(plan))["spec"]) == said(plan)
    level, reasons = security.level(plan.config.cluster.kubernetes or pytest.fail("no Kubernetes"))
    assert bool(reasons) == (level != "restricted")
    shown = dict(rows([plan], place(plan.config), plan.config.run.dir))["Pod Security"]
    assert shown.startswith(level) and all(reason in shown for reason in reasons)


def test_a_runtime_of_the_cluster_gets_the_same_rights() -> None:
    runtime = {"kubernetes": {"runtime_ref": "torch-distributed"}}
    (patch,) = render(changed(base(), launch={"kind": "trainjob"}, cluster=runtime))[1]["spec"][
        "runtimePatches"
    ]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert pod_security.strictest(job["template"]["spec"]["template"]["spec"]) == "restricted"


def test_preparing_the_volume() -> None:
    config = compose(["cluster=kubernetes"])
    prepared = preparation(config, "a/b:c", ["data=stdlib"])["spec"]["template"]["spec"]
    assert pod_security.strictest(prepared) == "restricted"
    owned = ownership(config, "a/b:c")["spec"]["template"]["spec"]
    assert pod_security.strictest(owned) == "baseline"


PLANTED: list[tuple[str, Any]] = [
    ("hostPID", lambda spec: spec.update(hostPID=True)),
    ("a host path", lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("a port of the node", lambda spec: spec["containers"][0]["ports"][0].update(hostPort=1)),
    ("root", lambda spec: spec["securityContext"].update(runAsUser=0)),
    ("no seccomp", lambda spec: spec["securityContext"].pop("seccompProfile")),
    ("escalation", lambda spec: spec["initContainers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
    ("nothing dropped", lambda spec: spec["initContainers"][0]["securityContext"].pop("capabilities")),
]


@pytest.mark.parametrize(("name", "plant"), PLANTED, ids=[name for name, _ in PLANTED])
def test_the_check_sees_it(name: str, plant: Any) -> None:
    spec = copy.deepcopy(pod_template(render(changed(base(), launch={"preflight": True})))["spec"])
    assert pod_security.strictest(spec) == "restricted"
    plant(spec)
    assert pod_security.strictest(spec) != "restricted"
