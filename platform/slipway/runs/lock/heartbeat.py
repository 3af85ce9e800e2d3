"""A thread that does something small every few seconds, and rests while this process forks."""

import os
import threading
from collections.abc import Callable

# Held for the length of a beat and of a fork: a child never inherits a beat half-done.
_quiet = threading.Lock()
os.register_at_fork(before=_quiet.acquire, after_in_parent=_quiet.release, after_in_child=_quiet.release)


class Heartbeat:
    """A thread that calls `beat` every `seconds`, from the end of the first interval until `stop`."""

    def __init__(self, seconds: float, beat: Callable[[], None]) -> None:
        self._seconds, self._beat = seconds, beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            with _quiet:
                self._beat()

    def stop(self) -> None:
        """Stop the heartbeat: no beat comes after this."""
        self._stop.set()
        self._thread.join()
