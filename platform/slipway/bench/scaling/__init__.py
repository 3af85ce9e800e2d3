"""`slipway bench scaling`: how much faster a step becomes, or how much more it does, on more devices.

The trainer's own step, as `slipway bench train` measures it, at several sizes (sizes.py), each several times
(points.py): on this machine, or as jobs of a cluster (jobs.py). Speed-up, efficiency and their confidence are pure
arithmetic (arithmetic.py); table.py makes the rows of them, picture.py the plots.
"""

from slipway.bench.scaling.command import run

__all__ = ["run"]
