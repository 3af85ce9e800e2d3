"""tests/runner.py with bad data: on one rank, or on all, chosen samples of every training are poisoned.

First line of standard input: {"rank": R or null, "numbers": [N...], "what": "nan" or "spike"}; then the jobs.
`nan` makes the sample's weight in the loss NaN on that rank; `spike` swaps its labels for a token that is rare.
"""

import json
import sys
from typing import Any

import torch


def poison(rank: int | None, numbers: list[int], what: str) -> None:
    """From now on; ranks are forked from this process."""
    from slipway.data.text import dataset

    clean = dataset.Dataset.__getitem__

    def poisoned(self: Any, draw: Any) -> dict[str, Any]:
        sample = clean(self, draw)
        here = rank is None or torch.distributed.get_rank() == rank
        if here and draw.number in numbers:
            if what == "nan":
                sample["loss_mask"] = torch.full_like(sample["loss_mask"], float("nan"))
            else:
                sample["labels"] = torch.full_like(sample["labels"], 1)
        return sample

    dataset.Dataset.__getitem__ = poisoned  # type: ignore[method-assign]


if __name__ == "__main__":
    import runner

    poison(**json.loads(sys.stdin.readline()))
    runner.main()
