"""The Pod Security Standards, from kubernetes.io/docs/concepts/security/pod-security-standards, control by control.

Written from that page alone: it shares nothing with what makes the manifests.
"""

from collections.abc import Iterator
from typing import Any

_BASELINE_ADDED = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
_RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip


def strictest(spec: dict[str, Any]) -> str:
    """The strictest level that admits a pod."""
    if list(against_baseline(spec)):
        return "privileged"
    return "baseline" if list(against_restricted(spec)) else "restricted"


def against_baseline(spec: dict[str, Any]) -> Iterator[str]:
    """What level `baseline` refuses in a pod's spec."""
    pod = spec.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']}: hostPath"
    for sysctl in pod.get("sysctls", []):
        if sysctl["name"] not in _SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    contexts = {"pod": pod} | {one["name"]: one.get("securityContext", {}) for one in _containers(spec)}
    for where, context in contexts.items():
        if context.get("privileged"):
            yield f"{where}: privileged"
        for name in context.get("capabilities", {}).get("add", []):
            if name not in _BASELINE_ADDED:
                yield f"{where}: capability {name}"
        if context.get("windowsOptions", {}).get("hostProcess"):
            yield f"{where}: hostProcess"
        if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
            yield f"{where}: AppArmor"
        selinux = context.get("seLinuxOptions", {})
        if (
            selinux.get("type", "")
            not in ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
            or selinux.get("user")
            or selinux.get("role")
        ):
            yield f"{where}: SELinux"
        if context.get("procMount", "Default") != "Default":
            yield f"{where}: procMount"
        if context.get("seccompProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
            yield f"{where}: seccomp"
    for container in _containers(spec):
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield f"{container['name']}: hostPort"


def against_restricted(spec: dict[str, Any]) -> Iterator[str]:
    """What level `restricted` refuses beyond `baseline`."""
    pod = spec.get("securityContext", {})
    for volume in spec.get("volumes", []):
        if not volume.keys() - {"name"} <= _RESTRICTED_VOLUMES:
            yield f"volume {volume['name']}"
    if pod.get("runAsUser") == 0:
        yield "pod: root"
    for container in _containers(spec):
        name, context = container["name"], container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation"
        if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield f"{name}: runAsNonRoot"
        if context.get("runAsUser") == 0:
            yield f"{name}: root"
        seccomp = context.get("seccompProfile", pod.get("seccompProfile", {}))
        if seccomp.get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name}: seccomp"
        capabilities = context.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            yield f"{name}: capabilities not dropped"
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name}: capabilities added"


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]
