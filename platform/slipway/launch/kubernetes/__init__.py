"""Rendering of plans as Kubernetes manifests: data, never text templates. Pure; imports no torch."""

from slipway.launch.kubernetes.render import manifests, workloads
from slipway.launch.kubernetes.text import to_text

__all__ = ["manifests", "to_text", "workloads"]
