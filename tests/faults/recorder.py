"""tests/runner.py with a witness: each sample that one rank of every replica reads is written down.

First line of standard input: the folder; a file per rank there holds `source number` lines. Then the jobs.
"""

import sys
from pathlib import Path
from typing import Any


def record(folder: Path) -> None:
    """From now on; ranks are forked from this process."""
    from slipway.data.text import dataset

    read = dataset.Dataset.__getitem__

    def recorded(self: Any, draw: Any) -> dict[str, Any]:
        import torch
        from megatron.core import parallel_state as state

        # the other ranks of a replica read the same
        if state.is_pipeline_first_stage() and state.get_tensor_model_parallel_rank() == 0:
            with (folder / f"rank-{torch.distributed.get_rank()}").open("a") as file:
                file.write(f"{draw.source} {draw.number}\n")
        return read(self, draw)

    dataset.Dataset.__getitem__ = recorded  # type: ignore[method-assign]


if __name__ == "__main__":
    import runner

    record(Path(sys.stdin.readline().strip()))
    runner.main()
