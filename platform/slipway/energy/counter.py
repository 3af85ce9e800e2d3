"""A machine's counter of energy, and what has been used since it was first read."""

from typing import Protocol

SOURCES = ("NVML", "AMD SMI", "RAPL", "Cray pm_counters")
"""The counters.

The first two count one device with its memory, RAPL the processors of a node and, if they report it, their memory;
Cray's counters count whole nodes with all that is in them.
"""
OF_DEVICES, OF_NODES = SOURCES[:2], SOURCES[2:]


class Counter(Protocol):
    """A counter of joules, from some moment on."""

    @property
    def source(self) -> str:
        """One of SOURCES."""
        ...

    @property
    def wraps_at(self) -> float | None:
        """Joules after which it begins at zero again; None: it does so only when its driver starts anew."""
        ...

    def read(self) -> float:
        """Return the joules counted so far. Raises any exception if the counter cannot be read now."""
        ...


class Used:
    """Joules that a counter has counted since this object was made."""

    def __init__(self, counter: Counter) -> None:
        """Read the counter once. Raises what that raises: a counter that cannot be read at the start counts nothing."""
        self.source, self._counter, self._last = counter.source, counter, counter.read()
        self.joules, self.lives = 0.0, True

    def update(self) -> None:
        """Read the counter. What it counts while reading fails is added once it can be read again."""
        try:
            now = self._counter.read()
        except Exception:  # whatever a driver or a file system raises: energy ends no training
            self.lives = False
            return
        passed, wraps_at = now - self._last, self._counter.wraps_at
        if passed < 0:
            passed = now if wraps_at is None else passed + wraps_at
        self.joules, self._last, self.lives = self.joules + max(0.0, passed), now, True
