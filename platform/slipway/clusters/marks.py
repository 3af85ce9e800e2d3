"""The sources of a profile's values (`sources`), and the values that nobody has checked on the site (`unverified`)."""

from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from slipway.config.cluster import Cluster

# Fields in which a profile describes itself.
_OWN = ("name", "description", "notes", "warnings", "unverified", "sources")


def values(cluster: Cluster) -> Iterator[tuple[str, object]]:
    """Yield the dotted path and the value of each field, except those of absent sections; lists are values."""
    yield from _values(cluster, "")


def _values(found: object, at: str) -> Iterator[tuple[str, object]]:
    named = list(_named(found).items())
    for name, value in named:
        path = f"{at}.{name}" if at else name
        if not at and name in _OWN:
            continue
        if isinstance(value, BaseModel) or (isinstance(value, dict) and value):
            yield from _values(value, path)
        else:
            yield path, value


def _named(found: object) -> dict[str, object]:
    if isinstance(found, BaseModel):
        return {name: getattr(found, name) for name in type(found).model_fields}
    return dict(found) if isinstance(found, dict) else {}


def has(cluster: Cluster, path: str) -> bool:
    """Return whether a dotted path names a field, a section or a queue of the profile."""
    found: object = cluster
    for name in path.split("."):
        inside = _named(found)
        if name not in inside:
            return False
        found = inside[name]
    return True


def is_unverified(cluster: Cluster, path: str) -> bool:
    """Return whether a field, or a section that it is in, is marked as unverified."""
    return any(path == mark or path.startswith(f"{mark}.") for mark in cluster.unverified)


def sources(cluster: Cluster, path: str) -> list[int]:
    """Return the numbers, from 1, of the sources that name a field or, if none does, the nearest section around it."""
    above = path
    while above:
        found = [number for number, source in enumerate(cluster.sources, 1) if above in source.of]
        if found:
            return found
        above = above.rpartition(".")[0]
    return []


def unverified(cluster: Cluster, within: Iterable[str] = ("",)) -> list[str]:
    """Return the paths of the marked fields that have a value. within: only these fields or sections."""
    inside = tuple(within)
    return [
        path
        for path, value in values(cluster)
        if is_stated(value)
        and is_unverified(cluster, path)
        and any(path == part or not part or path.startswith(f"{part}.") for part in inside)
    ]


def is_stated(value: object) -> bool:
    """Return whether a profile gives a value that is neither null nor empty."""
    return value is not None and value not in ("", [], {})
