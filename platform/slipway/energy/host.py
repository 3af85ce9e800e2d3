"""Counters of a whole node that Linux shows as files: RAPL of Intel's and AMD's processors, Cray's pm_counters."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from slipway.energy.counter import Counter, Used

POWERCAP = "sys/class/powercap"
CRAY = "sys/cray/pm_counters/energy"
_PACKAGE, _PART = re.compile(r"intel-rapl:\d+"), re.compile(r"intel-rapl:\d+:\d+")


class RaplZone:
    """A zone of RAPL: a processor (package-0), or its memory (dram). AMD's driver takes the same names.

    Linux, Documentation/power/powercap/powercap.rst: energy_uj counts microjoules up to max_energy_range_uj.
    """

    source = "RAPL"

    def __init__(self, folder: Path) -> None:
        """Open the zone in `folder`. Raises OSError or ValueError if it does not state when its counter wraps."""
        self._energy = folder / "energy_uj"
        self.wraps_at: float | None = float((folder / "max_energy_range_uj").read_text()) / 1e6

    def read(self) -> float:
        """Return the joules counted since the counter last wrapped."""
        return float(self._energy.read_text()) / 1e6


class CrayNode:
    """A node of an HPE Cray EX: `energy` holds `123456 J` and a time, for all that is in the node."""

    source = "Cray pm_counters"
    wraps_at: float | None = None

    def __init__(self, root: Path) -> None:
        self._energy = root / CRAY

    def read(self) -> float:
        """Return the joules counted so far. Raises ValueError if the file counts in another unit."""
        value, unit, *_ = self._energy.read_text().split()
        if unit != "J":
            raise ValueError(f"{self._energy} counts {unit}, not J")
        return float(value)


def of_node(root: Path = Path("/")) -> list[Used]:
    """Return this node's readable counters, none of which counts what another does.

    root: of the file system.
    """
    return begun([CrayNode(root)]) or begun(_zones(root / POWERCAP))


def begun(counters: Sequence[Counter] | Iterator[Counter]) -> list[Used]:
    """Return the counters that can be read, each begun now."""
    found = []
    for counter in counters:
        try:
            found.append(Used(counter))
        except Exception:  # it does not exist, or only root may read it
            continue
    return found


def _zones(folder: Path) -> Iterator[Counter]:
    """Yield the zones of processors and of their memory.

    `core` and `uncore` are parts of a processor, and `psys` contains the processors again.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return
    for name in names:
        try:
            kind = (folder / name / "name").read_text().strip()
            if (_PACKAGE.fullmatch(name) and kind.startswith("package")) or (
                _PART.fullmatch(name) and kind == "dram"
            ):
                yield RaplZone(folder / name)
        except (OSError, ValueError):
            continue
