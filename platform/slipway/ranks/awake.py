"""A clock of the time that this process was awake: it stands while the process is stopped, suspended or starved.

SIGSTOP, scontrol suspend, Ctrl-Z and a paused machine stop a watchdog along with what it watches. By a usual clock all
would have hung when they go on. Here a thread ticks, and a gap between two ticks counts as two ticks at most.
"""

import os
import threading
import time

TICK_SECONDS = 0.25
_LONGEST = 2 * TICK_SECONDS  # that a gap counts: a busy machine delays a thread, but not all the time


class Clock:
    """Ticks from its making on."""

    def __init__(self) -> None:
        self._counted, self._last = 0.0, time.monotonic()
        threading.Thread(target=self._tick, name="awake", daemon=True).start()

    def now(self) -> float:
        """Return seconds awake so far."""
        counted, last = self._counted, self._last
        return counted + min(time.monotonic() - last, _LONGEST)

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            self._counted, self._last = self.now(), time.monotonic()


_clocks: dict[int, Clock] = {}  # by process: a fork takes no thread along


def now() -> float:
    """Return seconds that this process was awake since it first asked."""
    clock = _clocks.get(os.getpid()) or _clocks.setdefault(os.getpid(), Clock())
    return clock.now()
