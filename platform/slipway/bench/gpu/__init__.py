"""`slipway bench gpu`: shows on a machine with GPUs what works, how fast it is, and where the time goes.

A table of parts (parts.py), each in a child process with a time limit (process.py, child.py), whose result is written
to a file as soon as it is known (results.py). With `--rehearse` the same parts run with tiny shapes on CPU ranks.
"""

from slipway.bench.gpu.command import run

__all__ = ["run"]
