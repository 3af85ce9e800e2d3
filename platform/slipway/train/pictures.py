"""Pictures of validations: drawn by the family on the last stage, written by one rank."""

import errno

import torch
from torch import Tensor

from slipway.engine.engine import Seen
from slipway.metrics import pictures
from slipway.models import network_of
from slipway.models.network import Batch, Picture, Pictures
from slipway.train.setup import Session


class Painter:
    """Keeps the picture of the first microbatch of a validation, and writes it.

    Validations draw the same samples, so that pictures of different steps show the same ones.
    """

    def __init__(self, session: Session) -> None:
        config = session.plan.trained
        network, here = network_of(config), session.plan.grid.coordinates(torch.distributed.get_rank())
        self._network = network if isinstance(network, Pictures) and here.dp == 0 else None
        self._config, self._writes = config, here.tp == here.cp == 0
        self._picture: Picture | None = None

    @property
    def seen(self) -> Seen | None:
        """The function to which forward passes show their output; None: they need not show any more."""
        return self._see if self._network is not None and self._picture is None else None

    def write(self, step: int) -> int:
        """Write the picture if this is the rank for it; return 0, or the number of the error if that failed."""
        if self._picture is None or not self._writes:
            return 0
        try:
            pictures.write(self._config.run.dir, step, *self._picture)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _see(self, batch: Batch, output: Tensor) -> None:
        if self._picture is None and self._network is not None:
            self._picture = self._network.picture(self._config, batch, output)
