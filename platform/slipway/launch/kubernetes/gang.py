"""How the pods of a run are admitted together and where they are placed: Kueue, Volcano, or the default scheduler."""

from collections.abc import Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.launch.kubernetes import names
from slipway.launch.kubernetes.resources import resources_of, totals

KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
KUEUE_TOPOLOGY = "kueue.x-k8s.io/podset-preferred-topology"
VOLCANO_GROUP = "scheduling.k8s.io/group-name"


def queue_labels(config: RunConfig) -> dict[str, str]:
    """Return the labels by which Kueue finds a workload's queue. Without a queue, Kueue leaves the workload alone."""
    return {KUEUE_QUEUE: config.launch.queue} if is_queued(config) and config.launch.queue else {}


def is_queued(config: RunConfig) -> bool:
    """Return whether the workload is created suspended, for Kueue to start when all of it fits."""
    kubernetes = config.cluster.kubernetes
    return kubernetes is not None and kubernetes.queueing == "kueue" and config.launch.queue is not None


def pod_annotations(config: RunConfig, name: str) -> dict[str, str]:
    """Return the annotations that tell Kueue the topology, or Volcano the group."""
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    if kubernetes.queueing == "volcano":
        return {VOLCANO_GROUP: name}
    if is_queued(config) and kubernetes.topology:
        return {KUEUE_TOPOLOGY: kubernetes.topology}
    return {}


def place_pods(config: RunConfig, name: str, template: dict[str, Any]) -> None:
    """Add to a pod template its scheduler, nodes to avoid and, unless Kueue does it, a preference for nearby peers."""
    kubernetes, spec = config.cluster.kubernetes, template["spec"]
    assert kubernetes is not None
    if kubernetes.queueing == "volcano":
        spec["schedulerName"] = "volcano"
    wishes = {}
    if config.launch.exclude:
        wishes |= without(config.launch.exclude)
    if kubernetes.topology and not is_queued(config) and config.resources.nodes > 1:
        wishes |= affinity(kubernetes.topology, name)
    if wishes:
        spec["affinity"] = wishes


def without(nodes: Sequence[str]) -> dict[str, Any]:
    """Return a node affinity that excludes these nodes, named as the doctor and `kubectl get nodes` print them."""
    each = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
    condition = {"nodeSelectorTerms": [{"matchFields": each}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": condition}}


def affinity(topology: str, name: str) -> dict[str, Any]:
    """Return a pod affinity that prefers nodes near the run's other pods.

    It is no condition: a gang that is spread out trains, too.
    """
    peers = {"labelSelector": {"matchLabels": {names.LABEL_RUN: name}}, "topologyKey": topology}
    wish = {"weight": 100, "podAffinityTerm": peers}
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}


def pod_group(config: RunConfig, metadata: dict[str, Any]) -> dict[str, Any] | None:
    """Return Volcano's PodGroup, which starts all pods or none; None without Volcano."""
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    if kubernetes.queueing != "volcano":
        return None
    spec: dict[str, Any] = {"minMember": config.resources.nodes}
    if config.launch.queue:
        spec["queue"] = config.launch.queue
    if kubernetes.priority_class:
        spec["priorityClassName"] = kubernetes.priority_class
    spec["minResources"] = totals(resources_of(config)["requests"], config.resources.nodes)
    if kubernetes.topology:
        spec["networkTopology"] = {"mode": "soft"}  # levels are the cluster's HyperNodes
    return {
        "apiVersion": "scheduling.volcano.sh/v1beta1",
        "kind": "PodGroup",
        "metadata": metadata,
        "spec": spec,
    }
