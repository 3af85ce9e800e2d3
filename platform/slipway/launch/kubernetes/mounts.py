"""What is mounted in a pod: plan.json, the volume for runs and data, shared memory, caches, and the profile's own."""

from typing import Any

from slipway.config.kubernetes import Kubernetes, Volume
from slipway.config.schema import RunConfig
from slipway.launch.kubernetes.resources import shm_bytes

PLAN_FOLDER = "/etc/slipway"  # where the ConfigMap is mounted


def folders(kubernetes: Kubernetes) -> dict[str, str]:
    """Return the directories where the pod's own volumes are mounted, by the volume's name."""
    return {"run": PLAN_FOLDER, "work": kubernetes.mount_path, "shm": "/dev/shm", "tmp": "/tmp"}


def volume_mounts(kubernetes: Kubernetes) -> list[dict[str, Any]]:
    """Return the mounts of the pod's own volumes and of the profile's."""
    places = [(name, folder, name == "run") for name, folder in folders(kubernetes).items()]
    places += [(name, one.mount_path, one.read_only) for name, one in kubernetes.volumes.items()]
    return [
        {"name": name, "mountPath": folder, **({"readOnly": True} if read_only else {})}
        for name, folder, read_only in places
    ]


def volumes(config: RunConfig, plan_map: str) -> list[dict[str, Any]]:
    """Return the volumes of a pod: plan.json, the claim for runs and data, shared memory, caches, and the profile's.

    /dev/shm is a volume because its default of 64 MiB is too little for NCCL.
    """
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    shm = {"medium": "Memory", "sizeLimit": f"{shm_bytes(config) // 2**20}Mi"}
    own: list[dict[str, Any]] = [
        {"name": "run", "configMap": {"name": plan_map}},
        {"name": "work", "persistentVolumeClaim": {"claimName": kubernetes.volume_claim}},
        {"name": "shm", "emptyDir": shm},
        {"name": "tmp", "emptyDir": {}},
    ]
    return own + [{"name": name, **_source(one)} for name, one in kubernetes.volumes.items()]


def _source(volume: Volume) -> dict[str, Any]:
    if volume.host_path is not None:
        return {"hostPath": {"path": volume.host_path, "type": volume.host_path_type}}
    if volume.config_map is not None:
        return {"configMap": {"name": volume.config_map}}
    return {"persistentVolumeClaim": {"claimName": volume.claim}}
