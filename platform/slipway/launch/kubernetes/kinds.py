"""The three kinds of workload: Job (nothing else installed), JobSet (restarts the gang), Kubeflow's TrainJob."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.launch.kubernetes import failure, gang, names, pod

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """One run, in the form that all kinds of workload are made from."""

    config: RunConfig
    image: str
    minutes: int | None
    """Wall time of a segment, in minutes."""
    name: str
    labels: dict[str, str]
    """Labels of the pods."""
    metadata: dict[str, Any]
    args: Sequence[str]
    plan_map: str
    """The ConfigMap that holds plan.json."""

    @property
    def nodes(self) -> int:
        """The number of pods."""
        return self.config.resources.nodes

    @property
    def deadline(self) -> int | None:
        """Seconds that one segment may take, including its start; None: no wall time is given."""
        kubernetes = self.config.cluster.kubernetes
        assert kubernetes is not None
        if self.minutes is None:
            return None
        return failure.deadline_seconds(
            self.minutes, self.config.launch.preflight, kubernetes.termination_grace_seconds
        )

    @property
    def restarts(self) -> int:
        """Restarts that are allowed after faults; other restarts are not counted."""
        return self.config.launch.chain - 1

    def template(self, master: str | None) -> dict[str, Any]:
        """Return the template of the pods. master: node 0's host name; None: Kubeflow tells it to the pods."""
        env = [{"name": "SLIPWAY_JOB_ID", "value": self.name}]
        env += pod.place_env(master, self.nodes) if master else []
        annotations = gang.pod_annotations(self.config, self.name)
        template = pod.pod_template(
            self.config, self.image, self.labels, annotations, self.args, env, self.plan_map
        )
        gang.place_pods(self.config, self.name, template)
        return template

    @property
    def first_pod(self) -> str:
        """The host name of node 0 in a JobSet."""
        return f"{self.name}-{names.REPLICATED_JOB}-0-0.{self.name}"

    @property
    def suspend(self) -> dict[str, bool]:
        """The part of the workload's spec that suspends it; empty if it starts at once."""
        return {"suspend": True} if gang.is_queued(self.config) else {}


def job(work: Workload) -> list[Manifest]:
    """Return an Indexed Job, and the headless Service that gives its pods names."""
    template = work.template(f"{work.name}-0.{work.name}")
    template["spec"] = {"subdomain": work.name, **template["spec"]}
    spec = failure.job_spec(work.nodes, None, template, restarts_itself=True)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**work.metadata, "labels": work.labels},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # pods look for each other before they are ready
            "selector": {names.LABEL_RUN: work.name},
            "ports": [{"name": "rendezvous", "port": pod.PORT}],
        },
    }
    whole = {**work.suspend, "ttlSecondsAfterFinished": failure.TTL_SECONDS, **spec}
    return [service, {"apiVersion": "batch/v1", "kind": "Job", "metadata": work.metadata, "spec": whole}]


def jobset(work: Workload) -> list[Manifest]:
    """Return a JobSet of one Indexed Job; the JobSet creates the Service itself."""
    template = work.template(work.first_pod)
    spec = {**work.suspend, "ttlSecondsAfterFinished": failure.TTL_SECONDS, **_jobset_spec(work, template)}
    return [
        {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": work.metadata, "spec": spec}
    ]


def trainjob(work: Workload) -> list[Manifest]:
    """Return a TrainJob, and the TrainingRuntime that it runs in, unless the profile names one of the cluster's."""
    kubernetes = work.config.cluster.kubernetes
    assert kubernetes is not None
    template = work.template(None)
    for check in template["spec"].get("initContainers", []):  # Kubeflow sets these for the trainer only
        check["env"] = [*check["env"], *pod.place_env(work.first_pod, work.nodes)]
    container = template["spec"]["containers"][0]
    trainer: dict[str, Any] = {
        "image": work.image,
        "args": container["args"],
        "env": container["env"],
        "numNodes": work.nodes,
        "numProcPerNode": work.config.resources.devices_per_node,
    }
    if container["resources"]:
        trainer["resourcesPerNode"] = container["resources"]
    spec: dict[str, Any] = {**work.suspend}
    train_job = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": work.metadata,
        "spec": spec,
    }
    if kubernetes.runtime_ref:
        trainer = {"command": list(_ENTRY), **trainer}
        spec |= {"runtimeRef": {"name": kubernetes.runtime_ref, "kind": "ClusterTrainingRuntime"}}
        spec |= {"trainer": trainer, "runtimePatches": [_patch(work, template)]}
        return [train_job]
    spec |= {"runtimeRef": {"name": work.name, "kind": "TrainingRuntime"}, "trainer": trainer}
    return [_runtime(work, template), train_job]


# The image's entry point, for runtimes whose container has a command of its own.
_ENTRY = ("/opt/slipway/bin/dumb-init", "--single-child", "--", "/opt/slipway/bin/slipway-entry")


def _jobset_spec(work: Workload, template: dict[str, Any]) -> dict[str, Any]:
    inner = failure.job_spec(work.nodes, work.deadline, template, restarts_itself=False)
    return {
        "network": {"enableDNSHostnames": True, "subdomain": work.name, "publishNotReadyAddresses": True},
        "failurePolicy": failure.gang_policy(work.restarts),
        "replicatedJobs": [{"name": names.REPLICATED_JOB, "replicas": 1, "template": {"spec": inner}}],
    }


def _runtime(work: Workload, template: dict[str, Any]) -> Manifest:
    """Return a TrainingRuntime with a JobSet's failure rules: the cluster's own runtimes do not know exit code 75."""
    container = template["spec"]["containers"][0]
    kept = {
        key: value for key, value in container.items() if key not in ("args", "env", "ports", "resources")
    }
    template = {**template, "spec": {**template["spec"], "containers": [kept]}}
    spec = _jobset_spec(work, template)
    replicated = spec["replicatedJobs"][0]
    replicated["template"] = {
        "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
        **replicated["template"],
    }
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {**work.metadata, "labels": work.labels},
        "spec": {
            "mlPolicy": {"numNodes": work.nodes, "torch": {}},
            "template": {"spec": spec},
        },
    }


def _patch(work: Workload, template: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that a TrainJob may make to the pods of a runtime.

    Raises UserError if the run needs a change that it may not make.
    """
    spec, queueing = template["spec"], work.config.cluster.kubernetes
    if (
        (queueing and queueing.queueing == "volcano")
        or "initContainers" in spec
        or "priorityClassName" in spec
        or "hostNetwork" in spec
    ):
        raise UserError(
            "cluster.kubernetes.runtime_ref",
            "a TrainJob cannot give the pods of the cluster's runtime another scheduler (volcano), a priority "
            "class, the node's network or launch.preflight",
            use="null, or none of these",
        )
    container = spec["containers"][0]
    kept = {
        key: spec[key]
        for key in (
            "serviceAccountName",
            "nodeSelector",
            "affinity",
            "tolerations",
            "securityContext",
            "terminationGracePeriodSeconds",
            "volumes",
        )
        if key in spec
    }
    kept["containers"] = [{key: container[key] for key in ("name", "securityContext", "volumeMounts")}]
    patched = {"name": names.REPLICATED_JOB, "template": {"spec": {"template": {**template, "spec": kept}}}}
    return {
        "manager": "slipway/launch",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [patched]}}},
    }
