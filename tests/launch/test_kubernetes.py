"""Manifests of every Kubernetes profile, kind and queue: valid by strict schemas, and what they promise."""

import itertools
import json
import re
import time
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import breadth
import kubernetes_schemas
from refusals import ANY, refused
from slipway.config.compose import compose, conf_dir
from slipway.config.kubernetes import Toleration
from slipway.config.schema import RunConfig
from slipway.launch.kubernetes import gang, manifests, names, to_text, workloads
from slipway.launch.placement import place
from slipway.plan import Plan, make_plan, plan_file

PROFILES = sorted(
    path.stem for path in (conf_dir() / "cluster").glob("*.yaml") if "base/kubernetes" in path.read_text()
)
KINDS = ("job", "jobset", "trainjob")
QUEUES = (None, "kueue", "volcano")
PLANS: dict[tuple[str, ...], Plan] = {}

needs_crds = pytest.mark.skipif(
    not kubernetes_schemas.CRDS.is_dir(),
    reason=f"the CRDs of JobSet, Kubeflow and Volcano are not at hand in {kubernetes_schemas.CRDS}",
)


def plan_of(*words: str) -> Plan:
    """Composed once."""
    if words not in PLANS:
        PLANS[words] = make_plan(compose(["model=demo", "training.global_batch_size=8192", *words]))
    return PLANS[words]


def changed(plan: Plan, **sections: dict[str, Any]) -> Plan:
    """The plan of another configuration; layout and machines stay."""
    plain = plan.config.model_dump(mode="json")
    for section, values in sections.items():
        plain[section] = _merged(plain[section], values)
    return plan.model_copy(update={"config": RunConfig.model_validate(plain)})


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def render(*plans: Plan) -> list[dict[str, Any]]:
    return manifests(plans, place(plans[0].config))


def base(profile: str = "kubernetes", nodes: int = 2, devices: int = 8) -> Plan:
    return plan_of(
        f"cluster={profile}",
        f"resources.nodes={nodes}",
        f"resources.devices_per_node={devices}",
        "run.name=demo",
    )


def one(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (manifest,) = [manifest for manifest in found if manifest["kind"] == kind]
    return manifest


def pod_template(found: list[dict[str, Any]]) -> dict[str, Any]:
    for manifest in found:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Job":
            return spec["template"]
        spec = spec["template"]["spec"] if manifest["kind"] == "TrainingRuntime" else spec
        if "replicatedJobs" in spec:
            return spec["replicatedJobs"][0]["template"]["spec"]["template"]
    raise AssertionError("no pod template")


def variants() -> list[Any]:
    """Each kind and queue once, each profile once: profiles differ in values, kinds and queues in shape."""
    shapes = list(itertools.product(KINDS, QUEUES))
    some = [("kubernetes", *shape) for shape in shapes]
    some += [(profile, *shapes[i % len(shapes)]) for i, profile in enumerate(PROFILES, 4)]
    every = itertools.product(PROFILES, KINDS, QUEUES)
    return [
        pytest.param(profile, kind, queueing, id=f"{profile}-{kind}-{queueing or 'none'}")
        for profile, kind, queueing in (every if breadth.ALL else dict.fromkeys(some))
    ]


@needs_crds
@pytest.mark.parametrize(("profile", "kind", "queueing"), variants())
def test_every_manifest_is_valid(profile: str, kind: str, queueing: str | None) -> None:
    launch = {"kind": kind, "queue": "research" if queueing else None, "time_limit": 600, "preflight": True}
    more = {
        "queueing": queueing,
        "wandb_secret": "wandb",
        "priority_class": "high",
        "service_account": "train",
    }
    plan = changed(base(profile), launch=launch, cluster={"kubernetes": more, "internet": False})
    found = render(plan)
    for manifest in found:
        kubernetes_schemas.check(manifest)
    assert list(yaml.safe_load_all(to_text(found))) == found
    (workload,) = workloads(found)
    assert list(workload)[:4] == ["apiVersion", "kind", "metadata", "spec"]
    assert workload["kind"].lower() == kind
    suspended = workload["spec"].get("suspend", False)
    labels = workload["metadata"]["labels"]
    assert suspended == (queueing == "kueue") == (labels.get("kueue.x-k8s.io/queue-name") == "research")
    grouped = [manifest for manifest in found if manifest["kind"] == "PodGroup"]
    pods = pod_template(found)
    assert bool(grouped) == (queueing == "volcano") == (pods["spec"].get("schedulerName") == "volcano")
    if grouped:
        assert grouped[0]["spec"]["minMember"] == 2 and grouped[0]["spec"]["queue"] == "research"
        assert pods["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == "demo"
    topology = plan.config.cluster.kubernetes and plan.config.cluster.kubernetes.topology
    if topology and queueing == "kueue":
        assert pods["metadata"]["annotations"]["kueue.x-k8s.io/podset-preferred-topology"] == topology
    if topology and queueing is None:
        assert topology in json.dumps(pods["spec"]["affinity"])


@needs_crds
@pytest.mark.parametrize("profile", PROFILES)
def test_a_trainjob_in_a_runtime_of_the_cluster(profile: str) -> None:
    runtime = {"kubernetes": {"runtime_ref": "torch-distributed"}}
    found = render(changed(base(profile), launch={"kind": "trainjob"}, cluster=runtime))
    assert [manifest["kind"] for manifest in found] == ["ConfigMap", "TrainJob"]
    for manifest in found:
        kubernetes_schemas.check(manifest)
    spec = found[1]["spec"]
    assert spec["trainer"]["command"][0] == "/opt/slipway/bin/dumb-init"
    assert not any(variable["name"].startswith("PET_") for variable in spec["trainer"]["env"])


@needs_crds
@pytest.mark.parametrize("kind", KINDS)
def test_the_checks_see_what_is_wrong(kind: str) -> None:
    found = render(changed(base(), launch={"kind": kind}, cluster={"kubernetes": {"queueing": "volcano"}}))
    for manifest in found:
        manifest["spec" if "spec" in manifest else "data"]["unknown"] = 1
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
            kubernetes_schemas.check(manifest)
    found = render(changed(base(), launch={"kind": kind}))
    pod_template(found)["spec"]["containers"][0]["readOnly"] = True
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        for manifest in found:
            kubernetes_schemas.check(manifest)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_pod(profile: str, kind: str) -> None:
    plan = changed(base(profile, devices=4), launch={"kind": kind})
    found = render(plan)
    spec = pod_template(found)["spec"]
    (container,) = spec["containers"]
    assert spec["restartPolicy"] == "Never" and spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["fsGroup"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
    assert security["capabilities"]["drop"] == ["ALL"]
    kubernetes = plan.config.cluster.kubernetes
    assert kubernetes and security["capabilities"].get("add", []) == kubernetes.capabilities
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
    assert volumes["work"]["persistentVolumeClaim"] == {"claimName": "slipway"}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["run"] == {"name": "run", "mountPath": "/etc/slipway", "readOnly": True}
    assert mounts["shm"]["mountPath"] == "/dev/shm" and mounts["work"]["mountPath"] == "/workspace"
    trainer = one(found, "TrainJob")["spec"]["trainer"] if kind == "trainjob" else container
    resources = trainer["resourcesPerNode" if kind == "trainjob" else "resources"]
    assert resources["limits"]["nvidia.com/gpu"] == "4"
    share = {"eks": ("vpc.amazonaws.com/efa", "16"), "aks": ("rdma/ib", "4")}  # half a node's devices
    if profile in share:
        assert resources["limits"][share[profile][0]] == share[profile][1]
    assert trainer["args"][:4] == ["slipway", "train", "--plan", "/etc/slipway/plan.json"]


def test_plan_json_is_the_plan() -> None:
    plan = base()
    found = render(plan)
    assert json.loads(one(found, "ConfigMap")["data"]["plan.json"]) == plan.model_dump(mode="json")


ADDRESSES = {"job": "demo-0.demo", "jobset": "demo-node-0-0.demo"}


@pytest.mark.parametrize("kind", ADDRESSES)
def test_pods_find_node_0(kind: str) -> None:
    found = render(changed(base(), launch={"kind": kind}))
    (container,) = pod_template(found)["spec"]["containers"]
    env = {variable["name"]: variable for variable in container["env"]}
    assert env["MASTER_ADDR"]["value"] == ADDRESSES[kind]
    assert env["SLIPWAY_NNODES"]["value"] == "2"
    path = env["SLIPWAY_NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    if kind == "jobset":
        network = one(found, "JobSet")["spec"]["network"]
        assert network == {"enableDNSHostnames": True, "subdomain": "demo", "publishNotReadyAddresses": True}
        return
    service = one(found, "Service")["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
    assert service["selector"].items() <= pod_template(found)["metadata"]["labels"].items()
    assert pod_template(found)["spec"]["subdomain"] == one(found, "Service")["metadata"]["name"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_doctor_before_the_training(kind: str) -> None:
    found = render(changed(base(), launch={"kind": kind, "preflight": True}))
    (check,) = pod_template(found)["spec"]["initContainers"]
    assert check["args"][:3] == ["slipway", "doctor", "--collectives"]
    assert check["args"][-2:] == ["--plan", "/etc/slipway/plan.json"]
    env = {variable["name"]: variable.get("value") for variable in check["env"]}
    assert env["MASTER_ADDR"] == ("demo-0.demo" if kind == "job" else "demo-node-0-0.demo")
    assert env["SLIPWAY_NNODES"] == "2"
    assert "initContainers" not in pod_template(render(base()))["spec"]


def test_a_sweep_is_several_jobs_under_one_label() -> None:
    plans = [
        changed(base(), run={"name": f"lr={lr}", "dir": f"runs/lr={lr}"}, optimizer={"lr": lr})
        for lr in (0.001, 0.003)
    ]
    found = render(*plans)
    assert [manifest["kind"] for manifest in found] == ["ConfigMap", "JobSet", "JobSet"]
    (sweep,) = {manifest["metadata"]["labels"]["slipway/sweep"] for manifest in found}
    plan_map = found[0]["metadata"]["name"]
    assert plan_map == names.of_content(sweep, found[0]["data"]["plan.json"])
    first, second = (
        manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
        for manifest in found[1:]
    )
    assert first["containers"][0]["args"] == ["slipway", "train", "--plan", "/etc/slipway/plan.json"]
    changes = second["containers"][0]["args"][4:]
    assert changes == [
        'config.run.name="lr=0.003"',
        'config.run.dir="runs/lr=0.003"',
        "config.optimizer.lr=0.003",
    ]
    assert first["volumes"][0]["configMap"] == second["volumes"][0]["configMap"] == {"name": plan_map}
    assert len({manifest["metadata"]["name"] for manifest in found}) == 3


@given(st.text("abcABC01._=,+-", min_size=1, max_size=200), st.integers(1, 10_000))
def test_names(run_name: str, nodes: int) -> None:
    name = names.resource_name(run_name, nodes)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(f"{name}-node-0-{nodes - 1}-x75z2") <= 63
    assert names.is_label_value(name) and names.is_label_value(names.sweep_name([run_name] * nodes))
    assert name == names.resource_name(run_name, nodes)


def test_names_stay_apart() -> None:
    runs = ["demo", "Demo", "de_mo", "de.mo", "x" * 60, "x" * 61, "7", "a-", "."]
    found = [names.resource_name(run, 2) for run in runs]
    assert len(set(found)) == len(runs) and found[0] == "demo"


DOUBTFUL = [
    "",
    "y",
    "No",
    "on",
    "null",
    "~",
    "1e3",
    "0x1f",
    "0o7",
    "1_000",
    "1:30",
    ".inf",
    "- a",
    "a: b",
    "#",
    "2001-01-01",
]


@given(st.text(max_size=60) | st.sampled_from(DOUBTFUL))
def test_no_string_breaks_out_of_yaml(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # no such string comes out of a file or JSON
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": text},
        "data": {"a": text, "b": "x"},
    }
    written = to_text([manifest, manifest])
    assert list(yaml.safe_load_all(written)) == [manifest, manifest]


def test_doubtful_words_are_quoted() -> None:
    """Kubernetes reads YAML by other rules than Python: 1e3 is a number there, y a boolean."""
    for word in DOUBTFUL:
        assert to_text([{"a": word}]) == f'---\na: "{word}"\n'


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_words_of_a_sweep_arrive_as_they_were(text: str) -> None:
    plan = changed(base(), logging={"wandb": {"entity": text}})
    found = list(yaml.safe_load_all(to_text(render(base(), plan))))
    words = found[-1]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    arrived = [_expand(word) for word in words]
    assert plan_file.changes(base(), plan) == arrived[4:]


def _expand(word: str) -> str:
    """As Kubernetes does (third_party/forked/golang/expansion): $$ is $, $(NAME) a variable."""
    assert "$(" not in word.replace("$$", "")
    return word.replace("$$", "$")


def test_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "c0ffee" * 6)
    plan = changed(base(), cluster={"kubernetes": {"wandb_secret": "wandb"}})
    text = to_text(render(plan))
    assert "c0ffee" not in text
    reference = {"secretKeyRef": {"name": "wandb", "key": "WANDB_API_KEY", "optional": True}}
    (container,) = pod_template(render(plan))["spec"]["containers"]
    assert {"name": "WANDB_API_KEY", "valueFrom": reference} in container["env"]


def test_a_queue_is_kueues_where_nothing_else_is_said() -> None:
    (workload,) = workloads(render(changed(base(), launch={"queue": "research"})))
    assert workload["spec"]["suspend"] and workload["metadata"]["labels"][gang.KUEUE_QUEUE] == "research"
    (workload,) = workloads(render(base()))
    assert not workload["spec"].get("suspend") and gang.KUEUE_QUEUE not in workload["metadata"]["labels"]


BAD = [
    (
        {"launch": {"queue": "research"}, "cluster": {"kubernetes": {"queueing": None}}},
        "launch.queue",
        "research",
    ),
    (
        {"cluster": {"kubernetes": {"namespace": "My_Space"}}},
        "cluster.kubernetes.namespace",
        "My_Space",
    ),
    ({"cluster": {"kubernetes": {"volume_claim": "A"}}}, "cluster.kubernetes.volume_claim", "A"),
    ({"cluster": {"kubernetes": {"resources": {"cpu": "many"}}}}, "cluster.kubernetes.resources.cpu", "many"),
    (
        {"cluster": {"kubernetes": {"node_selector": {"a": "x y"}}}},
        "cluster.kubernetes.node_selector.a",
        "x y",
    ),
    ({"cluster": {"kubernetes": {"annotations": {"a/b/c": "x"}}}}, "cluster.kubernetes.annotations", "a/b/c"),
    *(
        ({"launch": {"image": image}}, "launch.image", image)
        for image in ("a b", "docker://a/b:1", "host/Slipway:1", "a/slipway.sif", "a:b:c", "a@sha256:12")
    ),
    *(
        ({"cluster": {"kubernetes": {"mount_path": path}}}, "cluster.kubernetes.mount_path", path)
        for path in ("/", "/tmp", "/dev/shm", "/usr/lib", "/a/../etc")
    ),
    (
        {"cluster": {"kubernetes": {"capabilities": ["CAP_KILL"]}}},
        "cluster.kubernetes.capabilities",
        "CAP_KILL",
    ),
    ({"cluster": {"kubernetes": {"resources": {"cpu": "0"}}}}, "cluster.kubernetes.resources.cpu", 0),
    (
        {"cluster": {"node": {"cores": 96}} | {"kubernetes": {"resources": {"cpu": "500"}}}},
        "cluster.kubernetes.resources.cpu",
        ANY,
    ),
    (
        {"cluster": {"node": {"memory_gib": 960}} | {"kubernetes": {"resources": {"memory": "9Ti"}}}},
        "cluster.kubernetes.resources.memory",
        ANY,
    ),
    (
        {"cluster": {"kubernetes": {"resources": {"nvidia.com/gpu": "4"}}}},
        "cluster.kubernetes.resources.nvidia.com/gpu",
        None,
    ),
    (
        {"run": {"dir": "/scratch/x"}},
        "run.dir",
        "/scratch/x",
    ),
    ({"data": {"dir": "../x"}}, "data.dir", "../x"),
]


@pytest.mark.parametrize(("sections", "path", "value"), BAD)
def test_what_kubernetes_would_not_take(sections: dict[str, Any], path: str, value: object) -> None:
    with refused(path, value=value):
        render(changed(base(), **sections))


def test_references_of_images() -> None:
    digest = f"sha256:{'0a' * 32}"
    for image in (
        "slipway",
        "a/b",
        "host:5000/a_b/c--d:1.2-x",
        "Host.org/a:T",
        f"r.org/a@{digest}",
        f"a:1@{digest}",
    ):
        render(changed(base(), launch={"image": image}))


@pytest.mark.parametrize(
    "toleration", [{"key": "a", "value": "b"}, {"operator": "Equal", "value": "b"}, {"operator": "Equal"}]
)
def test_tolerations_that_kubernetes_would_not_take(toleration: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="operator"):
        Toleration.model_validate(toleration)


def test_a_runtime_of_the_cluster_cannot_do_all() -> None:
    runtime = {"kubernetes": {"runtime_ref": "torch-distributed", "queueing": "volcano"}}
    with refused("cluster.kubernetes.runtime_ref"):
        render(changed(base(), launch={"kind": "trainjob"}, cluster=runtime))


def test_largest_plan_and_a_thousand_jobs_are_quick() -> None:
    wide = base("h100_cloud", nodes=512)
    started = time.process_time()
    to_text(render(wide))
    assert time.process_time() - started < 1
    plans = [changed(base(), run={"name": f"seed-{i}"}, training={"seed": i}) for i in range(1000)]
    started = time.process_time()
    text = to_text(render(*plans))
    assert time.process_time() - started < 5
    assert text.count("kind: JobSet") == 1000
