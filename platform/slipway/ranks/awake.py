"""A clock of the time that this process was awake: it stops while the process is stopped, suspended or starved.

SIGSTOP, scontrol suspend, Ctrl-Z and a paused machine stop a watchdog along with what it watches. By a usual clock,
everything would seem to have hung when they resume. Here a thread ticks, and a gap between two ticks counts as two
ticks at most.
"""

import os
import threading
import time

TICK_SECONDS = 0.25
_LONGEST = 2 * TICK_SECONDS  # longest gap that counts: a busy machine delays a thread, but not always


class Clock:
    """A clock that ticks from its creation on."""

    def __init__(self) -> None:
        self._counted, self._last = 0.0, time.monotonic()
        threading.Thread(target=self._tick, name="awake", daemon=True).start()

    def now(self) -> float:
        """Return the seconds awake so far."""
        counted, last = self._counted, self._last
        return counted + min(time.monotonic() - last, _LONGEST)

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            self._counted, self._last = self.now(), time.monotonic()


_clocks: dict[int, Clock] = {}  # by process, as a fork does not copy threads


def now() -> float:
    """Return the seconds that this process was awake since it first asked."""
    clock = _clocks.get(os.getpid()) or _clocks.setdefault(os.getpid(), Clock())
    return clock.now()
