"""What no manifest could hold: refused in one line, before anything is rendered."""

import re
from pathlib import Path, PurePosixPath

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.launch.kubernetes import names

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")


def check(config: RunConfig, image: str) -> None:
    """Raise UserError for the first thing that Kubernetes would not take, or that would have no effect."""
    kubernetes, launch = config.cluster.kubernetes, config.launch
    assert kubernetes is not None
    at = "cluster.kubernetes"
    if launch.queue is not None and kubernetes.queueing is None:
        raise UserError(
            f"launch.queue: {launch.queue} has no effect where {at}.queueing is null; allowed: with kueue or volcano"
        )
    _name(f"{at}.namespace", kubernetes.namespace, names.LABEL, 63)
    for field in ("volume_claim", "wandb_secret", "runtime_ref", "priority_class", "service_account"):
        if (value := getattr(kubernetes, field)) is not None:
            _name(f"{at}.{field}", value, names.SUBDOMAIN, 253)
    if launch.queue is not None:
        _name("launch.queue", launch.queue, names.SUBDOMAIN, 63)
    for field in ("resources", "node_selector", "annotations"):
        for key in getattr(kubernetes, field):
            _key(f"{at}.{field}", key)
    for key, value in kubernetes.node_selector.items():
        if not names.is_label_value(value):
            raise UserError(f"{at}.node_selector.{key}: {value!r} is no value that a label can have")
    for key in filter(None, [kubernetes.topology, kubernetes.device_resource]):
        _key(at, key)
    if not _IMAGE.fullmatch(image):
        raise UserError(f"launch.image: {image!r} is no reference of an image; allowed: as in host/name:tag")
    _on_volume("run.dir", config.run.dir, kubernetes.mount_path)
    _on_volume("data.dir", config.data.dir, kubernetes.mount_path)


def _name(where: str, value: str, pattern: re.Pattern[str], longest: int) -> None:
    if len(value) > longest or not pattern.fullmatch(value):
        dot = " and ." if pattern is names.SUBDOMAIN else ""
        raise UserError(
            f"{where}: {value} is no name in Kubernetes; allowed: a-z, 0-9, -{dot}, a letter or digit at both ends, at "
            f"most {longest}"
        )


def _key(where: str, key: str) -> None:
    if not names.is_label_key(key):
        raise UserError(f"{where}: {key} is no key in Kubernetes; allowed: NAME or a.domain/NAME")


def _on_volume(where: str, folder: Path, mount: str) -> None:
    """All else in a pod is read-only, or gone with it."""
    inside = PurePosixPath(mount, folder)
    if ".." in folder.parts or not inside.is_relative_to(mount):
        raise UserError(
            f"{where}: {folder} is not on the volume, which is mounted at {mount} (cluster.kubernetes.mount_path); "
            f"allowed: relative to it, or {mount}/..."
        )
