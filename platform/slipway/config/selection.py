"""Interfaces or adapters of a node: one notation for profiles, for NCCL's variables and for the doctor. Pure.

A profile names them exactly (`ib0`, `mlx5_0`, a port `mlx5_0:1`), by the beginning of their names (`mlx5*`), or names
those to leave out (`^docker`: all that begin so; `^=docker0`). NCCL has one sign for a whole list: `=a,b` is exact,
`a,b` is the beginning of names, `^a,b` leaves out names that begin so, `^=a,b` exactly these (NCCL_SOCKET_IFNAME and
NCCL_IB_HCA in NCCL's documentation of its variables). gloo accepts exact names only.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ITEM = re.compile(r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::(?P<port>\d+))?(?P<more>\*)?")
ALLOWED = (
    "NAME, NAME:PORT, NAME* (all that begin so), ^NAME (all but those that begin so) or ^=NAME (all but it)"
)


@dataclass(frozen=True)
class Item:
    """One entry of a list."""

    name: str
    port: int | None = None
    begins: bool = False
    """Whether all names that begin so are meant."""
    left_out: bool = False

    def means(self, name: str, port: int | None = None) -> bool:
        """Return whether this entry is about an interface, or an adapter and its port."""
        same = name.startswith(self.name) if self.begins else name == self.name
        return same and (None in (self.port, port) or port == self.port)

    def __str__(self) -> str:
        """Return the entry in the notation of profiles."""
        sign = "" if not self.left_out else "^" if self.begins else "^="
        return f"{sign}{self._named()}{'*' if self.begins else ''}"

    def _named(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


def of_profile(texts: str | Iterable[str]) -> list[Item]:
    """Return the entries of a profile's list, in its own notation or NCCL's. Raises ValueError if it is in neither.

    The two differ only without a sign: then names are exact.
    """
    found = [
        item for text in ([texts] if isinstance(texts, str) else texts) for item in _read(text, begins=False)
    ]
    if len({(item.left_out, item.begins) for item in found}) > 1:
        raise ValueError("must be all names, all NAME*, or all ^NAME: NCCL has one sign for the whole list")
    return found


def of_nccl(text: str) -> list[Item]:
    """Return the entries of NCCL_SOCKET_IFNAME or NCCL_IB_HCA. Without a sign, they are the beginning of names.

    Raises ValueError if the value is not in NCCL's notation.
    """
    return _read(text, begins=True) if text else []


def of_gloo(text: str) -> list[Item]:
    """Return the entries of GLOO_SOCKET_IFNAME: exact names, whatever they look like."""
    return [Item(name) for name in text.split(",") if name]


def _read(text: str, begins: bool) -> list[Item]:
    sign = re.match(r"\^?=?", text)
    assert sign is not None
    found = []
    for word in text[sign.end() :].split(","):
        item = _ITEM.fullmatch(word)
        if item is None:
            raise ValueError(f"must be {ALLOWED}; {word!r} is none of them")
        more = bool(item["more"]) or "=" not in sign[0] and (begins or "^" in sign[0])
        found.append(Item(item["name"], int(item["port"]) if item["port"] else None, more, "^" in sign[0]))
    return found


def to_nccl(items: Sequence[Item]) -> str:
    """Return the value of NCCL_SOCKET_IFNAME or NCCL_IB_HCA.

    It is exact if the names are, so that mlx5_1 does not mean mlx5_10, too.
    """
    sign = ("^" if items[0].left_out else "") + ("" if items[0].begins else "=")
    return sign + ",".join(item._named() for item in items)


def to_gloo(items: Sequence[Item]) -> str | None:
    """Return the value of GLOO_SOCKET_IFNAME; None if the names are known only on the node.

    gloo then uses the address of the host's name.
    """
    return None if items[0].begins or items[0].left_out else ",".join(item.name for item in items)


def takes(items: Sequence[Item], name: str, port: int | None = None) -> bool:
    """Return whether a list includes an interface, or an adapter (and its port); an empty list includes all."""
    if not items:
        return True
    if items[0].left_out:  # if one port of an adapter is excluded, its others stay
        return not any(item.means(name, port) and (item.port is None or port is not None) for item in items)
    return any(item.means(name, port) for item in items)


def missing(items: Sequence[Item], names: Iterable[str]) -> list[Item]:
    """Return entries that should exist and mean none of these names."""
    there = list(names)
    return [item for item in items if not item.left_out and not any(map(item.means, there))]
