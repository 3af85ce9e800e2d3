"""The pod that is a node of the run: one container, in which `slipway train` starts a rank for each device."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.launch import fabric
from slipway.launch.kubernetes import mounts, security
from slipway.launch.kubernetes.resources import resources_of

CONTAINER = "node"  # as in Kubeflow's runtimes
PORT = 29500
PLAN_FILE = "plan.json"
PREFLIGHT_SECONDS = 900  # until all pods have started: one may still pull the image
INDEX = "batch.kubernetes.io/job-completion-index"  # annotation of the pods of an Indexed Job

Env = list[dict[str, Any]]


def pod_template(
    config: RunConfig,
    image: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    args: Sequence[str],
    env: Env,
    plan_map: str,
) -> dict[str, Any]:
    """Return the template of a run's pods.

    plan_map: the ConfigMap with its plan.json; env: the variables that tell a pod its place.
    """
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    container = {
        "name": CONTAINER,
        "image": image,
        "args": literal(args),
        "workingDir": kubernetes.mount_path,
        "env": [*environment(config), *env],
        "ports": [{"name": "rendezvous", "containerPort": PORT}],
        "resources": _not_empty(resources_of(config)),
        "securityContext": security.of_container(kubernetes.capabilities),
        "volumeMounts": mounts.volume_mounts(kubernetes),
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",  # the end of a rank is the whole gang's concern
        "terminationGracePeriodSeconds": kubernetes.termination_grace_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security.of_pod(kubernetes),
    }
    if kubernetes.host_network:
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if kubernetes.service_account:
        spec["serviceAccountName"] = kubernetes.service_account
    if kubernetes.priority_class:
        spec["priorityClassName"] = kubernetes.priority_class
    if kubernetes.node_selector:
        spec["nodeSelector"] = dict(kubernetes.node_selector)
    if kubernetes.tolerations:
        spec["tolerations"] = [one.model_dump(exclude_none=True) for one in kubernetes.tolerations]
    if config.launch.preflight:
        words = [
            "slipway",
            "doctor",
            "--collectives",
            "--timeout",
            str(PREFLIGHT_SECONDS),
            *args[args.index("--plan") :],
        ]
        # a pod names each port once
        check = {key: value for key, value in container.items() if key != "ports"}
        spec["initContainers"] = [check | {"name": "preflight", "args": literal(words)}]
    spec["containers"] = [container]
    spec["volumes"] = mounts.volumes(config, plan_map)
    notes = {**kubernetes.annotations, **annotations}
    return {"metadata": {"labels": dict(labels), **({"annotations": notes} if notes else {})}, "spec": spec}


def plan_args(verb: Sequence[str], changes: Sequence[str]) -> list[str]:
    """Return the arguments of the container that run the plan; the image's entry script comes before them.

    verb: the words after `slipway`; changes: KEY=JSON, changes to plan.json.
    """
    return ["slipway", *verb, "--plan", f"{mounts.PLAN_FOLDER}/{PLAN_FILE}", *changes]


def literal(words: Sequence[str]) -> list[str]:
    """Return the words, escaped so that Kubernetes replaces nothing: it takes $(NAME) for a variable, and $$ for $."""
    return [word.replace("$", "$$") for word in words]


def place_env(master: str, nodes: int) -> Env:
    """Return the variables that tell a pod which node it is, and the address of node 0."""
    index = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    machine = {"fieldRef": {"fieldPath": "spec.nodeName"}}  # for people: which machine the pod ran on
    return [
        {"name": "SLIPWAY_NODE_NAME", "valueFrom": machine},
        {"name": "SLIPWAY_NODE_RANK", "valueFrom": index},
        {"name": "SLIPWAY_NNODES", "value": str(nodes)},
        {"name": "MASTER_ADDR", "value": master},
        {"name": "MASTER_PORT", "value": str(PORT)},
    ]


def environment(config: RunConfig) -> Env:
    """Return the pod's variables: the profile's, the network's, the caches', and wandb's key as a reference."""
    cluster, kubernetes = config.cluster, config.cluster.kubernetes
    assert kubernetes is not None
    values: dict[str, str] = {"SLIPWAY_CACHE": "/tmp/slipway", **fabric.environment(cluster.network)}
    if cluster.internet is False:
        values["WANDB_MODE"] = "offline"
    values |= cluster.environment
    env: Env = [{"name": name, "value": literal([value])[0]} for name, value in values.items()]
    if kubernetes.wandb_secret:
        key = {"name": kubernetes.wandb_secret, "key": "WANDB_API_KEY", "optional": True}
        env.append({"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": key}})
    return env


def _not_empty(resources: Mapping[str, Any]) -> dict[str, Any]:
    return {name: amounts for name, amounts in resources.items() if amounts}
