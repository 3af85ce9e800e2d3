"""Checks before rendering: what a manifest could not hold is refused in one line."""

import re
from pathlib import Path, PurePosixPath

from slipway.config.kubernetes import Kubernetes
from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.errors import UserError
from slipway.launch.kubernetes import mounts, names
from slipway.launch.kubernetes.resources import check_fits_node, check_shm

# Set by the pod's own manifest and by Kubeflow. A name can be set once: a profile's value would be lost, or win.
_TAKEN = re.compile(
    r"SLIPWAY_(JOB_ID|NODE_NAME|NODE_RANK|NNODES)|MASTER_(ADDR|PORT)|WANDB_API_KEY|PET_.*"
    r"|RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|GROUP_RANK|TORCHELASTIC_.*"
)
# [HOST[:PORT]/]NAME[:TAG][@DIGEST]: only the host may have capital letters (github.com/distribution/reference).
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)
_SYSTEM = ("/dev", "/etc", "/proc", "/sys", "/usr")


def check(config: RunConfig, image: str) -> None:
    """Raise UserError for the first thing that Kubernetes would not accept, or that would have no effect."""
    kubernetes, launch = config.cluster.kubernetes, config.launch
    assert kubernetes is not None
    at = "cluster.kubernetes"
    if launch.queue is not None and kubernetes.queueing is None:
        raise UserError(
            "launch.queue",
            f"has no effect while {at}.queueing is null",
            value=launch.queue,
            use="kueue or volcano",
        )
    _name(f"{at}.namespace", kubernetes.namespace, names.LABEL, 63)
    for field in ("volume_claim", "wandb_secret", "runtime_ref", "priority_class", "service_account"):
        if (value := getattr(kubernetes, field)) is not None:
            _name(f"{at}.{field}", value, names.SUBDOMAIN, 253)
    if launch.queue is not None:
        _name("launch.queue", launch.queue, names.SUBDOMAIN, 63)
    if kubernetes.storage_class is not None:
        _name(f"{at}.storage_class", kubernetes.storage_class, names.SUBDOMAIN, 253)
    for node in launch.exclude:
        _name("launch.exclude", node, names.SUBDOMAIN, 253)
    for field in ("resources", "node_selector", "annotations"):
        for key in getattr(kubernetes, field):
            _key(f"{at}.{field}", key)
    for key, value in kubernetes.node_selector.items():
        if not names.is_label_value(value):
            raise UserError(
                f"{at}.node_selector.{key}",
                "is not a valid label value",
                value=value,
                do="use at most 63 letters, digits, - _ and ., with a letter or digit at both ends",
            )
    for key in filter(None, [kubernetes.topology, kubernetes.device_resource]):
        _key(at, key)
    if not _IMAGE.fullmatch(image) or image.endswith(".sif"):
        raise UserError(
            "launch.image",
            "is not an image reference",
            value=image,
            use="host/name:tag or host/name@sha256:DIGEST, in lower case",
        )
    for name in kubernetes.capabilities:
        if not re.fullmatch("[A-Z][A-Z_]*", name) or name.startswith("CAP_"):
            raise UserError(
                f"{at}.capabilities",
                "is not the name of a capability in Kubernetes",
                value=name,
                use="a name like IPC_LOCK",
            )
    for name in config.cluster.environment:
        if _TAKEN.fullmatch(name):
            raise UserError(
                f"cluster.environment.{name}", f"the launch sets {name} for the pods", do="omit it"
            )
    _volumes(kubernetes)
    check_fits_node(config)
    check_shm(config)
    _on_volume("run.dir", config.run.dir, kubernetes.mount_path)
    for field, folder in kind_of(config).folders(config).items():
        _on_volume(field, folder, kubernetes.mount_path)


def _volumes(kubernetes: Kubernetes) -> None:
    """Check that volumes have names and directories of their own: mounts at one place hide each other, or are refused.

    Raises UserError.
    """
    work = str(PurePosixPath(kubernetes.mount_path))
    own = {name: folder for name, folder in mounts.folders(kubernetes).items() if name != "work"}
    system = any(PurePosixPath(work).is_relative_to(folder) for folder in _SYSTEM)
    if ".." in PurePosixPath(work).parts or system or work in ("/", *own.values()):
        raise UserError(
            "cluster.kubernetes.mount_path",
            "would hide a directory of the pod",
            value=kubernetes.mount_path,
            use="one of its own, such as /workspace",
        )
    taken = {folder: f"volume {name}" for name, folder in own.items()} | {
        work: "volume work",
        "/": "the image",
    }
    for name, volume in kubernetes.volumes.items():
        at = f"cluster.kubernetes.volumes.{name}"
        _name(at, name, names.LABEL, 63)
        if name in mounts.folders(kubernetes):
            raise UserError(at, "the pod already has a volume of this name", do="choose another")
        for field in ("config_map", "claim"):
            if (value := getattr(volume, field)) is not None:
                _name(f"{at}.{field}", value, names.SUBDOMAIN, 253)
        for field in ("host_path", "mount_path"):
            if ".." in PurePosixPath(getattr(volume, field) or "/").parts:
                raise UserError(
                    f"{at}.{field}",
                    "contains ..",
                    value=getattr(volume, field),
                    do="write the path without it",
                )
        folder = str(PurePosixPath(volume.mount_path))
        if folder in taken:
            raise UserError(
                f"{at}.mount_path", f"is already used by {taken[folder]}", value=folder, do="choose another"
            )
        taken[folder] = f"volume {name}"


def _name(where: str, value: str, pattern: re.Pattern[str], longest: int) -> None:
    if len(value) > longest or not pattern.fullmatch(value):
        dot = " and ." if pattern is names.SUBDOMAIN else ""
        raise UserError(
            where,
            "is not a valid name in Kubernetes",
            value=value,
            use=f"a-z, 0-9, -{dot}, a letter or digit at both ends, and at most {longest} characters",
        )


def _key(where: str, key: str) -> None:
    if not names.is_label_key(key):
        raise UserError(where, "is not a valid key in Kubernetes", value=key, use="NAME or a.domain/NAME")


def _on_volume(where: str, folder: Path, mount: str) -> None:
    """Check that a path is on the volume: everything else in a pod is read-only, or lost when the pod ends."""
    inside = PurePosixPath(mount, folder)
    if ".." in folder.parts or not inside.is_relative_to(mount):
        raise UserError(
            where,
            f"is not on the volume, which is mounted at {mount} (cluster.kubernetes.mount_path)",
            value=folder,
            use=f"a path relative to it, or {mount}/...",
        )
