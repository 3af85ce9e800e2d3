"""What is on the volume before a run: the claim for it, and a Job that prepares the data there."""

from collections.abc import Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.launch.kubernetes import names, pod
from slipway.launch.kubernetes.failure import TTL_SECONDS

Manifest = dict[str, Any]


def claim(config: RunConfig, size: str) -> Manifest:
    """The PersistentVolumeClaim that the profile names, in the cluster's default storage class. size: as 1Ti."""
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": kubernetes.volume_claim,
            "namespace": kubernetes.namespace,
            "labels": {"app.kubernetes.io/name": "slipway"},
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],  # pods on several nodes write checkpoints
            "resources": {"requests": {"storage": size}},
        },
    }


def preparation(config: RunConfig, image: str, words: Sequence[str]) -> Manifest:
    """A Job that runs `slipway data WORDS` on the volume, without devices: runs of several nodes prepare nothing."""
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    name = names.resource_name(f"data-{config.data.name}", 1)
    labels = {"app.kubernetes.io/name": "slipway"}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod.pod_security(config),
        "containers": [
            {
                "name": "data",
                "image": image,
                "args": pod.literal(["slipway", "data", *words]),
                "workingDir": kubernetes.mount_path,
                "env": [{"name": "SLIPWAY_CACHE", "value": "/tmp/slipway"}],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "work", "mountPath": kubernetes.mount_path},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }
        ],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": kubernetes.volume_claim}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": kubernetes.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 2,  # an interrupted preparation goes on where it was
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
