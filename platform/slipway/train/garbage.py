"""Python's garbage collector, run at the same steps on all ranks.

Left to itself it runs whenever a rank has made enough objects, at another moment on each: the others wait for that
rank in their next collective, and of many ranks one is nearly always collecting (Megatron-LM's --manual-gc).
"""

import gc


class Garbage:
    """What collects it, while training runs."""

    def __init__(self, interval: int) -> None:
        """interval: steps between collections; 0 leaves the collector to Python."""
        self.interval = interval
        if interval:
            gc.disable()

    def after(self, step: int) -> None:
        """Collect it after every `interval`-th step."""
        if self.interval and step % self.interval == 0:
            gc.collect()

    def close(self) -> None:
        """Leave the collector to Python again."""
        if self.interval:
            gc.enable()
