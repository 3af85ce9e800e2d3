"""Megatron-core as an engine: see slipway.engine.engine.Engine."""

import torch

from slipway.engine.megatron import groups, user_buffers
from slipway.engine.megatron.rank import MegatronRank
from slipway.plan import Plan
from slipway.ranks.environment import Place


class Megatron:
    """An engine with tensor, pipeline, context, expert and data parallelism, interleaved schedules, and ZeRO-1 to 3."""

    def connect(self, plan: Plan, place: Place) -> torch.device:
        """Join the process groups of the plan's layout and return this rank's device."""
        device = groups.connect(plan, place)
        user_buffers.open_them(plan.trained)
        return device

    def disconnect(self) -> None:
        """Leave all process groups."""
        user_buffers.close_them()
        groups.disconnect()

    def build(
        self, plan: Plan, device: torch.device, optimize: bool = True, initial: bool = True
    ) -> MegatronRank:
        """Return this rank's model chunks and, to train them, their optimizer."""
        return MegatronRank(plan, device, optimize, initial)


ENGINE = Megatron()
