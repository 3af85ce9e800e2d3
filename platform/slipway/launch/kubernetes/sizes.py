"""Limits on the size of manifests, checked before a submission: a cluster would refuse one in the middle of it.

The limits are those of the object, not of a client: a submission creates it, or applies it on the server's side.
`kubectl apply` without --server-side would put the whole object into one annotation, and annotations hold 262,144
bytes together.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError

CONFIG_MAP_BYTES = (
    1_048_576  # of all values of a ConfigMap (kubernetes.io/docs/concepts/configuration/configmap)
)
OBJECT_BYTES = 1_572_864  # of a request to etcd (its --max-request-bytes, 1.5 MiB)
WORD_BYTES = 131_072  # of one word or NAME=VALUE of a command, its end included (Linux, MAX_ARG_STRLEN)


def check(config: RunConfig, manifests: Sequence[dict[str, Any]]) -> None:
    """Raise UserError, with the arithmetic, for the first thing that is too large. config: the first run's."""
    for manifest in manifests:
        for name, value in manifest.get("data", {}).items():
            _limit(f"{name} in a ConfigMap", len(value.encode()), CONFIG_MAP_BYTES, config)
        for word in _words(manifest):
            _limit(f"{word[:40]}...", len(word.encode()) + 1, WORD_BYTES, config)
        size = len(json.dumps(manifest, separators=(",", ":")))
        _limit(f"{manifest['kind']} {manifest['metadata']['name']}", size, OBJECT_BYTES, config)


def _limit(what: str, size: int, limit: int, config: RunConfig) -> None:
    if size > limit:
        raise UserError(what, f"has {size:,} bytes, more than the limit of {limit:,}", do=_largest(config))


def _largest(config: RunConfig) -> str:
    """Return what to do about it: in an ordinary run, only a list of the data's inputs gets so long."""
    path, found = max(
        _lists(config.data.model_dump(mode="json"), "data"), key=lambda one: len(json.dumps(one[1]))
    )
    size = len(json.dumps(found))
    if size < 10_000:
        return ""
    return (
        f"name one directory instead of the {len(found):,} entries of {path}, which take about {size:,} bytes: all "
        "files in it are read"
    )


def _lists(found: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield all lists of a section, with their dotted paths; at least an empty one."""
    yield path, []
    if isinstance(found, list):
        yield path, found
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from _lists(value, f"{path}.{name}")


def _words(found: Any) -> Iterator[str]:
    """Yield the arguments and variables of all containers of a manifest."""
    if isinstance(found, list):
        for one in found:
            yield from _words(one)
    elif isinstance(found, dict):
        for key, value in found.items():
            if key in ("args", "command"):
                yield from value
            elif key == "env":
                yield from (f"{one['name']}={one.get('value', '')}" for one in value)
            else:
                yield from _words(value)
