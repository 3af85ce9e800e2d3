"""Measures the energy that this rank's device, and on a node's first rank the node, use while the rank trains."""

import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from slipway.energy import device as devices
from slipway.energy import host
from slipway.energy.counter import OF_NODES, SOURCES, Used
from slipway.ranks.environment import Place

INTERVAL = 1.0  # seconds; counters are renewed every 20 to 100 ms, and the quickest wrap around after minutes


class Meter:
    """Reads counters in a thread, so that no step waits for a driver."""

    def __init__(self, counters: Sequence[Used], interval: float = INTERVAL) -> None:
        self._counters, self._interval, self._stop = list(counters), interval, threading.Event()
        if self._counters:
            threading.Thread(target=self._run, name="energy", daemon=True).start()

    def numbers(self) -> list[float]:
        """Return [joules so far, counters that can be read] of each of SOURCES, to be summed over all ranks.

        A node counts once, whatever the number of its processors.
        """
        found: list[float] = []
        for source in SOURCES:
            own = [one for one in self._counters if one.source == source]
            live = sum(one.lives for one in own)
            found += [
                sum(one.joules for one in own),
                float(live == len(own) > 0 if source in OF_NODES else live),
            ]
        return found

    def read(self) -> None:
        """Read all counters now."""
        for counter in self._counters:
            counter.update()

    def close(self) -> None:
        """Stop the thread that reads."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.read()


def meter(device: torch.device, place: Place, root: Path = Path("/"), interval: float = INTERVAL) -> Meter:
    """Return the meter of a rank; counters that cannot be read are skipped.

    root: of the file system with /sys; interval: seconds between readings.
    """
    whole = host.of_node(root)
    counters = whole if place.local_rank == 0 else []
    if any(one.source == "Cray pm_counters" for one in whole):  # these counters include the devices
        return Meter(counters, interval)
    return Meter([*counters, *host.begun(_of_device(device))], interval)


def _of_device(device: torch.device):  # noqa: ANN202
    """Yield the counter of a GPU, if its driver's library is installed."""
    if device.type != "cuda":
        return
    try:
        facts = torch.cuda.get_device_properties(device)
        if torch.version.hip:
            bus = f"{facts.pci_domain_id:04x}:{facts.pci_bus_id:02x}:{facts.pci_device_id:02x}.0"
            yield devices.of_device("amd", bus)
        else:
            yield devices.of_device("nvidia", str(facts.uuid))
    except Exception:  # no library, no driver, no permission, a part of a device (MIG)
        return
