"""What a pod finds where: plan.json, the volume of runs and data, shared memory, caches, and what the profile adds."""

from typing import Any

from slipway.config.kubernetes import Kubernetes, Volume
from slipway.config.schema import RunConfig
from slipway.launch.kubernetes.resources import shm_bytes

PLAN_FOLDER = "/etc/slipway"  # where the ConfigMap is mounted


def folders(kubernetes: Kubernetes) -> dict[str, str]:
    """By volume, where the pod's own volumes are mounted."""
    return {"run": PLAN_FOLDER, "work": kubernetes.mount_path, "shm": "/dev/shm", "tmp": "/tmp"}


def volume_mounts(kubernetes: Kubernetes) -> list[dict[str, Any]]:
    """Of the volumes below."""
    places = [(name, folder, name == "run") for name, folder in folders(kubernetes).items()]
    places += [(name, one.mount_path, one.read_only) for name, one in kubernetes.volumes.items()]
    return [
        {"name": name, "mountPath": folder, **({"readOnly": True} if read_only else {})}
        for name, folder, read_only in places
    ]


def volumes(config: RunConfig, plan_map: str) -> list[dict[str, Any]]:
    """Return plan.json; runs, data; shared memory, as the default of 64 MiB is too little for NCCL; caches; the profile's."""
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
