"""Memory for pixels that is used again: fresh pages for each chip cost more than copying its bytes. Imports torch."""

import weakref

import numpy as np
import torch


class Buffers:
    """Tensors of one shape, whose memory goes to the next one when nothing refers to it any more. Threads share it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        self.free: list[np.ndarray] = []

    def take(self) -> tuple[torch.Tensor, np.ndarray]:
        """Return a tensor of this shape with undefined content, and the same memory as an array.

        The caller must let go of the array before the tensor.
        """
        try:
            memory = self.free.pop()
        except IndexError:
            memory = np.empty(self.shape, self.dtype)
        lent = memory[:]
        tensor = torch.from_numpy(lent)  # views of the tensor share its storage, which holds `lent`
        weakref.finalize(lent, self.free.append, memory).atexit = False
        return tensor, memory
