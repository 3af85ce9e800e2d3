"""The weights of a run's checkpoint as tensors, for notebooks and scripts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.checkpoint.store import CheckpointInfo
from slipway.engine import tensors_of
from slipway.runs import chosen

if TYPE_CHECKING:
    from torch import Tensor


class Weights(Mapping[str, "Tensor"]):
    """The weights of one checkpoint by name, each read from disk when it is asked for.

    A tensor is whole, whatever layout wrote it, and has the precision in which the model computes. Layers of one kind
    share a name: the first axis of such a tensor counts them.
    """

    def __init__(self, run_dir: Path | str, step: int | None = None) -> None:
        """Verify a checkpoint and read its index; imports torch, but neither Megatron-core nor anything that it names.

        Args:
            run_dir: The run's directory.
            step: The checkpoint's step; None: the newest undamaged one.

        Raises:
            UserError: No run is there, no such checkpoint, or the checkpoint is damaged.
            Unreadable: A file of it cannot be read now.
        """
        config = chosen.trained(Path(run_dir))
        self.path, self.info = chosen.checkpoint(config, step, "weights")
        self._reader = tensors_of(config).Reader(self.path)

    path: Path
    """The checkpoint's directory."""
    info: CheckpointInfo
    """The checkpoint's description: step, samples, layout."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight; reads none of them."""
        return dict(self._reader.shapes)

    def __getitem__(self, name: str) -> "Tensor":
        """Return a weight, read from disk. Raises KeyError if no weight has this name."""
        if name not in self._reader.shapes:
            raise KeyError(name)
        return self._reader.read(name, ())

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.shapes)

    def __len__(self) -> int:
        return len(self._reader.shapes)
