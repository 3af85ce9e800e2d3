"""What profiles of clouds give a pod: the values of the clouds' own public tests, mounted and set."""

import json
from pathlib import Path
from typing import Any

import pytest

import kubernetes_schemas
from launch.test_kubernetes import KINDS, PROFILES, base, changed, needs_crds, pod_template, render
from refusals import refused
from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.launch.kubernetes.volume import claim

# Facts of Google's (container-engine-accelerators, gpudirect-rdma/nccl-test.yaml), Azure's (aks-rdma-infiniband,
# tests/scenarios/k8s) and Amazon's (awsome-distributed-training, micro-benchmarks/nccl-tests) own tests of NCCL.
SET = {
    "gke": {"NCCL_NET": "gIB", "NCCL_TUNER_CONFIG_PATH": "/usr/local/gib/configs/tuner_config_a3u.txtpb"},
    "aks": {
        "NCCL_TOPO_FILE": "/opt/nvidia-topology/topo.xml",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "NCCL_NET_GDR_LEVEL": "SYS",
    },
    "eks": {"FI_PROVIDER": "efa", "FI_EFA_FORK_SAFE": "1", "NCCL_BUFFSIZE": "8388608"},
}
MOUNTED = {
    "gke": {
        "/usr/local/gib": {"hostPath": {"path": "/home/kubernetes/bin/gib", "type": "Directory"}},
        "/usr/local/nvidia": {"hostPath": {"path": "/home/kubernetes/bin/nvidia", "type": "Directory"}},
        "/dev/shm": {"emptyDir": {"medium": "Memory", "sizeLimit": "256000Mi"}},  # 250 GiB
    },
    "aks": {"/opt/nvidia-topology": {"configMap": {"name": "nvidia-topology"}}},
    "eks": {},
}
ASKED = {
    "gke": {},
    "aks": {"rdma/ib": "8"},
    "eks": {"vpc.amazonaws.com/efa": "32", "hugepages-2Mi": "5120Mi"},
}
LIBRARIES = {"gke": ["/usr/local/gib/lib64", "/usr/local/nvidia/lib64"]}


def mounted(template: dict[str, Any], container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Volumes by where a container sees them."""
    sources = {v["name"]: {k: s for k, s in v.items() if k != "name"} for v in template["spec"]["volumes"]}
    assert len(sources) == len(template["spec"]["volumes"])
    places = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(set(places)) == len(places)
    return {mount["mountPath"]: sources[mount["name"]] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("kind", ["job", "jobset"])
@pytest.mark.parametrize("cloud", SET)
def test_a_cloud_gets_what_its_own_test_of_nccl_has(cloud: str, kind: str) -> None:
    template = pod_template(render(changed(base(cloud), launch={"kind": kind, "preflight": True})))
    for container in [*template["spec"]["initContainers"], *template["spec"]["containers"]]:
        env = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert SET[cloud].items() <= env.items()
        assert MOUNTED[cloud].items() <= mounted(template, container).items()
        assert ASKED[cloud].items() <= container["resources"]["limits"].items()
        for folder in LIBRARIES.get(cloud, []):  # the image's entry puts these before its own
            assert folder in (env["SLIPWAY_LD_LIBRARY_PATH"] or "").split(":")
        for name in ("NCCL_TOPO_FILE", "NCCL_TUNER_CONFIG_PATH"):  # such files are on what is mounted
            if name in env:
                places = [Path(place) for place in MOUNTED[cloud]]
                assert any(Path(str(env[name])).is_relative_to(place) for place in places)


def test_gke_pods_ask_for_the_networks_of_googles_test() -> None:
    annotations = pod_template(render(base("gke")))["metadata"]["annotations"]
    assert annotations["networking.gke.io/default-interface"] == "eth0"
    asked = {
        one["interfaceName"]: one["network"]
        for one in json.loads(annotations["networking.gke.io/interfaces"])
    }
    assert asked == {"eth0": "default"} | {f"eth{index + 2}": f"rdma-{index}" for index in range(8)}


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_asks_for_a_capability_that_has_no_effect(profile: str) -> None:
    """Processes are not root, and no file of the image carries one: what is added never becomes effective."""
    assert base(profile).config.cluster.kubernetes
    for container in pod_template(render(base(profile)))["spec"]["containers"]:
        assert "add" not in container["securityContext"]["capabilities"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_variable_is_given_once(profile: str, kind: str) -> None:
    found = render(changed(base(profile), launch={"kind": kind, "preflight": True}))
    spec = pod_template(found)["spec"]
    lists = [one["env"] for one in [*spec["initContainers"], *spec["containers"]] if "env" in one]
    lists += [m["spec"]["trainer"]["env"] for m in found if m["kind"] == "TrainJob"]
    for variables in lists:
        every = [variable["name"] for variable in variables]
        assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("cloud", "name"), [("gke", "zonal-rwx"), ("aks", "azurefile-csi-premium"), ("eks", "fsx-sc")]
)
def test_the_volumes_class_is_one_that_several_nodes_can_write(cloud: str, name: str) -> None:
    spec = claim(compose([f"cluster={cloud}"]), "1Ti")["spec"]
    assert spec["storageClassName"] == name and spec["accessModes"] == ["ReadWriteMany"]
    assert "storageClassName" not in claim(compose(["cluster=kubernetes"]), "1Ti")["spec"]


MORE = {
    "libraries": {"host_path": "/opt/fabric", "mount_path": "/opt/slipway/plugins/fabric"},
    "device": {
        "host_path": "/dev/x",
        "host_path_type": "CharDevice",
        "mount_path": "/dev/x",
        "read_only": False,
    },
    "file": {"config_map": "topology", "mount_path": "/etc/topology"},
    "corpus": {"claim": "corpus", "mount_path": "/corpus"},
}


@needs_crds
@pytest.mark.parametrize(
    ("kind", "runtime"), [*((kind, None) for kind in KINDS), ("trainjob", "torch-distributed")]
)
def test_volumes_of_every_kind_and_the_nodes_network(kind: str, runtime: str | None) -> None:
    more = {
        "volumes": MORE,
        "runtime_ref": runtime,
        "host_network": not runtime,
        "capabilities": ["IPC_LOCK"],
    }
    found = render(changed(base(), launch={"kind": kind}, cluster={"kubernetes": more}))
    for manifest in found:
        kubernetes_schemas.check(manifest)
    if runtime:
        (patch,) = found[-1]["spec"]["runtimePatches"]
        (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        template = job["template"]["spec"]["template"]
    else:
        template = pod_template(found)
        assert template["spec"]["hostNetwork"] and template["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    (container,) = template["spec"]["containers"]
    places = mounted(template, container)
    assert places["/opt/slipway/plugins/fabric"] == {"hostPath": {"path": "/opt/fabric", "type": "Directory"}}
    assert places["/dev/x"] == {"hostPath": {"path": "/dev/x", "type": "CharDevice"}}
    assert places["/etc/topology"] == {"configMap": {"name": "topology"}}
    assert places["/corpus"] == {"persistentVolumeClaim": {"claimName": "corpus"}}
    read_only = {mount["mountPath"] for mount in container["volumeMounts"] if mount.get("readOnly")}
    assert read_only >= {"/etc/topology", "/corpus"} and "/dev/x" not in read_only


@needs_crds
@pytest.mark.parametrize("kind", KINDS)
def test_pods_keep_away_from_nodes_that_are_named(kind: str) -> None:
    """By the nodes' own names, which may have dots."""
    nodes = ["ip-10-0-1-23.ec2.internal", "gke-a-1"]
    found = render(changed(base("gke"), launch={"kind": kind, "exclude": nodes}))
    for manifest in found:
        kubernetes_schemas.check(manifest)
    affinity = pod_template(found)["spec"]["affinity"]
    (term,) = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [one["values"] for one in term["matchFields"]] == [[node] for node in nodes]  # all must hold
    assert {(one["key"], one["operator"]) for one in term["matchFields"]} == {("metadata.name", "NotIn")}
    assert "podAffinity" in affinity


REFUSED = [
    (
        {"volumes": {"shm": {"claim": "a", "mount_path": "/a"}}},
        r"volumes\.shm: a pod has a volume of this name",
    ),
    ({"volumes": {"A": {"claim": "a", "mount_path": "/a"}}}, r"volumes\.A: A is no name"),
    ({"volumes": {"a": {"claim": "A", "mount_path": "/a"}}}, r"volumes\.a\.claim: A is no name"),
    (
        {"volumes": {"a": {"claim": "a", "mount_path": "/tmp/"}}},
        r"volumes\.a\.mount_path: /tmp is the place of volume",
    ),
    (
        {"volumes": {"a": {"host_path": "/a/../b", "mount_path": "/a"}}},
        r"volumes\.a\.host_path: /a/\.\./b has \.\.",
    ),
    (
        {"volumes": {n: {"claim": n, "mount_path": "/a"} for n in "ab"}},
        r"volumes\.b\.mount_path: /a is the place of volume a",
    ),
    ({"storage_class": "A_b"}, r"storage_class: A_b is no name"),
]


@pytest.mark.parametrize(("more", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_volumes_that_no_pod_could_have(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"cluster\.kubernetes\.{message}"):
        render(changed(base(), cluster={"kubernetes": more}))


@pytest.mark.parametrize(
    ("source", "got"), [("", "none of them"), ("claim: a, host_path: /a, ", "host_path, claim")]
)
def test_a_volume_has_one_source(source: str, got: str) -> None:
    words = f"+cluster.kubernetes.volumes.x={{{source}mount_path: /b}}"
    with pytest.raises(
        UserError, match=rf"volumes\.x.*needs one of host_path, config_map and claim, got {got}"
    ):
        compose(["cluster=kubernetes", words])


@pytest.mark.parametrize("name", ["MASTER_ADDR", "SLIPWAY_NODE_RANK", "WANDB_API_KEY", "RANK", "PET_NNODES"])
def test_what_the_launch_says_is_not_said_by_a_profile_too(name: str) -> None:
    with pytest.raises(UserError, match=rf"cluster\.environment\.{name}: pods get {name} from the launch"):
        render(changed(base(), cluster={"environment": {name: "x"}}))


def test_nodes_to_avoid_have_names_of_nodes() -> None:
    with refused("launch.exclude", value="node_1"):
        render(changed(base(), launch={"exclude": ["node_1"]}))
