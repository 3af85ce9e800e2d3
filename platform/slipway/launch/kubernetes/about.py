"""The summary of the pods that people read before the pods are created."""

from slipway.config.kubernetes import Kubernetes
from slipway.config.schema import RunConfig
from slipway.launch.kubernetes import resources, security


def rows(config: RunConfig) -> list[tuple[str, str]]:
    """Return (what, value) pairs that describe the pods of a launch."""
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    found = [
        ("each pod", resources.in_words(config)),
        ("Pod Security", security.in_words(kubernetes)),
        ("needs", f"in namespace {kubernetes.namespace}: {', '.join(_objects(kubernetes))}"),
    ]
    if (config.launch.kind or kubernetes.kind) == "trainjob":
        found.append(("kept", "until `slipway runs cancel`: a TrainJob has no time to live"))
        if kubernetes.runtime_ref:
            what = kubernetes.service_account or "the namespace's default"
            found.append(("token", f"the pods get that of ServiceAccount {what}, unless it says otherwise"))
    return found


def _objects(kubernetes: Kubernetes) -> list[str]:
    """Return the objects that must exist beforehand: pods wait for each without a message, except for the Secret."""
    found = [f"PersistentVolumeClaim {kubernetes.volume_claim}"]
    for volume in kubernetes.volumes.values():
        found += [f"ConfigMap {volume.config_map}"] if volume.config_map else []
        found += [f"PersistentVolumeClaim {volume.claim}"] if volume.claim else []
    found += [f"ServiceAccount {kubernetes.service_account}"] if kubernetes.service_account else []
    found += [f"Secret {kubernetes.wandb_secret}"] if kubernetes.wandb_secret else []
    return list(dict.fromkeys(found))
