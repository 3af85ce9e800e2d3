"""Which interfaces or adapters of a node: one notation for profiles, for NCCL's variables and for the doctor. Pure.

A profile names them exactly (`ib0`, `mlx5_0`, a port `mlx5_0:1`), by what names begin with (`mlx5*`), or names those to
leave out (`^docker`: all that begin so; `^=docker0`). NCCL has one sign for a whole list: `=a,b` is exact, `a,b` begins
so, `^a,b` leaves out what begins so, `^=a,b` exactly these (NCCL_SOCKET_IFNAME and NCCL_IB_HCA in NCCL's documentation
of its variables). gloo takes exact names only.
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
    """Whether all names are meant that begin so."""
    left_out: bool = False

    def means(self, name: str, port: int | None = None) -> bool:
        """Return whether this entry is about an interface, or an adapter and its port."""
        same = name.startswith(self.name) if self.begins else name == self.name
        return same and (None in (self.port, port) or port == self.port)

    def __str__(self) -> str:
        """As profiles have it."""
        sign = "" if not self.left_out else "^" if self.begins else "^="
        return f"{sign}{self._named()}{'*' if self.begins else ''}"

    def _named(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


def of_profile(texts: str | Iterable[str]) -> list[Item]:
    """Return a profile's list, in its own notation or NCCL's; only without a sign they differ: exact. Raises ValueError."""
    found = [
        item for text in ([texts] if isinstance(texts, str) else texts) for item in _read(text, begins=False)
    ]
    if len({(item.left_out, item.begins) for item in found}) > 1:
        raise ValueError("must be all names, all NAME*, or all ^NAME: NCCL has one sign for the whole list")
    return found


def of_nccl(text: str) -> list[Item]:
    """Return the value of NCCL_SOCKET_IFNAME or NCCL_IB_HCA; without a sign names begin so. Raises ValueError."""
    return _read(text, begins=True) if text else []


def of_gloo(text: str) -> list[Item]:
    """Return the value of GLOO_SOCKET_IFNAME: exact names, whatever they look like."""
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
    """For NCCL_SOCKET_IFNAME and NCCL_IB_HCA: exact where names are, so that mlx5_1 is not mlx5_10, too."""
    sign = ("^" if items[0].left_out else "") + ("" if items[0].begins else "=")
    return sign + ",".join(item._named() for item in items)


def to_gloo(items: Sequence[Item]) -> str | None:
    """For GLOO_SOCKET_IFNAME; None where the names are not known before the node is: gloo asks the host's name then."""
    return None if items[0].begins or items[0].left_out else ",".join(item.name for item in items)


def takes(items: Sequence[Item], name: str, port: int | None = None) -> bool:
    """Return whether a list takes an interface, or an adapter (and its port); an empty list takes all."""
    if not items:
        return True
    if items[0].left_out:  # of an adapter with one port left out the others stay
        return not any(item.means(name, port) and (item.port is None or port is not None) for item in items)
    return any(item.means(name, port) for item in items)


def missing(items: Sequence[Item], names: Iterable[str]) -> list[Item]:
    """Return entries that should be there and mean none of these names."""
    there = list(names)
    return [item for item in items if not item.left_out and not any(map(item.means, there))]
