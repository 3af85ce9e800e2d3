"""Runs Python's garbage collector at the same steps on all ranks.

Left to itself it runs whenever a rank has made enough objects, at another moment on each: the others wait for that rank
in their next collective, and of many ranks one is nearly always collecting (Megatron-LM's --manual-gc).
"""

import gc


class Garbage:
    """Collects garbage while training runs."""

    def __init__(self, interval: int) -> None:
        """Take collection over from Python, unless interval is 0.

        interval: steps between collections; 0 leaves the collector to Python.
        """
        self.interval = interval
        if interval:
            gc.disable()

    def after(self, step: int) -> None:
        """Collect garbage after every `interval`-th step."""
        if self.interval and step % self.interval == 0:
            gc.collect()

    def close(self) -> None:
        """Enable Python's own collector again."""
        if self.interval:
            gc.enable()
