"""What a pod may do, and which level of the Pod Security Standards its namespace must allow for that.

The levels are those of kubernetes.io/docs/concepts/security/pod-security-standards. Pods are made for the strictest,
`restricted`; only what a fabric needs requires a weaker one.
"""

from typing import Any, Literal

from slipway.config.kubernetes import Kubernetes

Level = Literal["restricted", "baseline", "privileged"]

# Capabilities that may be added at a level; all others need `privileged`.
_RESTRICTED = {"NET_BIND_SERVICE"}
_BASELINE = _RESTRICTED | {
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
}


def level(kubernetes: Kubernetes) -> tuple[Level, list[str]]:
    """Return the strictest level at which the pods are admitted, and what keeps them from a stricter one."""
    paths = [f"host path {one.host_path}" for one in kubernetes.volumes.values() if one.host_path]
    network = ["the node's network"] if kubernetes.host_network else []
    beyond = [f"capability {name}" for name in kubernetes.capabilities if name not in _BASELINE]
    if reasons := [*paths, *network, *beyond]:
        return "privileged", reasons
    above = [f"capability {name}" for name in kubernetes.capabilities if name not in _RESTRICTED]
    return ("baseline", above) if above else ("restricted", [])


def in_words(kubernetes: Kubernetes) -> str:
    """Return the level and its reasons in words: `privileged, for host path /a and capability B`."""
    name, reasons = level(kubernetes)
    return f"{name}, for {', '.join(reasons)}" if reasons else name


def of_pod(kubernetes: Kubernetes) -> dict[str, Any]:
    """Return a pod's security context: not root; the volume belongs to the pod's group, if the driver allows it."""
    return {
        "runAsNonRoot": True,
        "runAsUser": kubernetes.run_as_user,
        "runAsGroup": kubernetes.run_as_user,
        "fsGroup": kubernetes.run_as_user,
        "fsGroupChangePolicy": "OnRootMismatch",  # a volume of checkpoints is large
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def of_container(capabilities: list[str]) -> dict[str, Any]:
    """Return a container's security context: only these capabilities, and no file is written except on the volumes."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], **({"add": list(capabilities)} if capabilities else {})},
    }
