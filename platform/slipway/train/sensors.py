"""Power and clock of a GPU while it trains, as NVIDIA's driver reports them (NVML, by torch and nvidia-ml-py)."""

import threading
from collections.abc import Callable
from statistics import fmean

import torch

INTERVAL = 0.2  # seconds; the driver's own values are means over 1/6 s to 1 s


class Sensors:
    """Samples the power (watts) and the clock of the multiprocessors (MHz) of one device in a thread."""

    def __init__(self, device: torch.device, say: Callable[[str], None]) -> None:
        """Start sampling if the device is an NVIDIA GPU.

        say: called once with the reason if an NVIDIA GPU cannot be sampled; no other device is expected to be.
        """
        self._device, self._stop = device, threading.Event()
        self._new: list[tuple[float, float]] = []
        self._last: list[tuple[float, float]] = []
        if device.type != "cuda" or torch.version.hip:
            return
        try:
            self._new.append(self._read())
        except Exception as error:  # no nvidia-ml-py, no permission, a device that cannot tell, a lost driver
            reason = str(error).partition("\n")[0] or type(error).__name__
            say(f"metrics.jsonl has no power_watts and no clock_mhz: {reason}")
            return
        threading.Thread(target=self._sample, name="sensors", daemon=True).start()

    def means(self) -> dict[str, float]:
        """Return the means since the last call; empty if the device has none.

        If the last call was less than an interval ago, these are the last known ones.
        """
        new, self._new = self._new, []
        self._last = new or self._last
        if not self._last:
            return {}
        watts, clocks = zip(*self._last, strict=True)
        return {"power_watts": fmean(watts), "clock_mhz": fmean(clocks)}

    def close(self) -> None:
        """Stop the thread that samples."""
        self._stop.set()

    def _read(self) -> tuple[float, float]:
        milliwatts, clock = torch.cuda.power_draw(self._device), torch.cuda.clock_rate(self._device)
        return milliwatts / 1000, float(clock)

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                self._new.append(self._read())
            except Exception:  # what a driver cannot tell now it may tell later
                self._last = []
