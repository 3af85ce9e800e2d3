"""What a volume needs before a run: the claim for it, its owner, and a Job that prepares the data there."""

from collections.abc import Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.launch.kubernetes import failure, names, pod, security

Manifest = dict[str, Any]


LABELS = {"app.kubernetes.io/name": "slipway"}


def claim(config: RunConfig, size: str) -> Manifest:
    """Return the PersistentVolumeClaim that the profile names, in the profile's storage class. size: such as 1Ti."""
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    spec: dict[str, Any] = {"accessModes": ["ReadWriteMany"]}  # pods on several nodes write checkpoints
    if kubernetes.storage_class:
        spec["storageClassName"] = kubernetes.storage_class
    spec["resources"] = {"requests": {"storage": size}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": kubernetes.volume_claim, "namespace": kubernetes.namespace, "labels": LABELS},
        "spec": spec,
    }


def ownership(config: RunConfig, image: str) -> Manifest:
    """Return a Job that gives the top of the volume to the pods' user, for drivers that ignore fsGroup.

    It runs as root with the one capability that this takes, which a namespace of level `baseline` admits.
    """
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    user = kubernetes.run_as_user
    container = {
        "name": "chown",
        "image": image,
        "command": ["chown", f"{user}:{user}", kubernetes.mount_path],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": security.of_container(["CHOWN"]) | {"runAsUser": 0, "runAsNonRoot": False},
        "volumeMounts": [{"name": "work", "mountPath": kubernetes.mount_path}],
    }
    return _job(config, "slipway-volume-owner", container, ["work"])


def preparation(config: RunConfig, image: str, words: Sequence[str]) -> Manifest:
    """Return a Job that runs `slipway data WORDS` on the volume, without devices.

    Runs of several nodes prepare no data themselves. The Job uses what is free on its node: preparing starts as many
    processes as the pod sees cores.
    """
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    container = {
        "name": "data",
        "image": image,
        "args": pod.literal(["slipway", "data", *words]),
        "workingDir": kubernetes.mount_path,
        "env": [{"name": "SLIPWAY_CACHE", "value": "/tmp/slipway"}],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
        "securityContext": security.of_container([]),
        "volumeMounts": [
            {"name": "work", "mountPath": kubernetes.mount_path},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    return _job(config, names.resource_name(f"data-{config.data.name}", 1), container, ["work", "tmp"])


def _job(config: RunConfig, name: str, container: dict[str, Any], mounted: Sequence[str]) -> Manifest:
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    volumes: dict[str, dict[str, Any]] = {
        "work": {"persistentVolumeClaim": {"claimName": kubernetes.volume_claim}},
        "tmp": {"emptyDir": {}},
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security.of_pod(kubernetes),
        "containers": [container],
        "volumes": [{"name": name, **volumes[name]} for name in mounted],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": kubernetes.namespace, "labels": LABELS},
        "spec": {
            "backoffLimit": 2,  # an interrupted preparation continues from where it was
            "podFailurePolicy": failure.once_only(),
            "ttlSecondsAfterFinished": failure.TTL_SECONDS,
            "template": {"metadata": {"labels": LABELS}, "spec": spec},
        },
    }
