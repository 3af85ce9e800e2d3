"""Which values of a profile nobody has checked on the site: its `unverified` paths."""

from collections.abc import Iterable

from pydantic import BaseModel

from slipway.config.cluster import Cluster


def has(cluster: Cluster, path: str) -> bool:
    """Whether a dotted path names a field, a section or a queue of the profile."""
    found: object = cluster
    for name in path.split("."):
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, BaseModel) and name in type(found).model_fields:
            found = getattr(found, name)
        else:
            return False
    return True


def is_unverified(cluster: Cluster, path: str) -> bool:
    """Whether a field is marked, or a section that it is in."""
    return any(path == mark or path.startswith(f"{mark}.") for mark in cluster.unverified)


def unverified_of(cluster: Cluster, paths: Iterable[str]) -> list[str]:
    """Those of the paths that are marked, or hold a marked field, in the order given."""
    return [
        path
        for path in paths
        if is_unverified(cluster, path) or any(mark.startswith(f"{path}.") for mark in cluster.unverified)
    ]
