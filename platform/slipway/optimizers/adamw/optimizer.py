"""AdamW by torch, Transformer Engine or apex, fused. Imports torch."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.optimizers.adamw.config import Config


class AdamW:
    """The torch half of AdamW: see slipway.optimizers.kind.Builder."""

    def build(self, groups: list[dict[str, Any]], config: RunConfig) -> torch.optim.Optimizer:
        """Return an AdamW of the backend that kernels.optimizer names, or torch's if it names none."""
        settings = config.optimizer
        assert isinstance(settings, Config)
        shared: dict[str, Any] = dict(
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
        )
        if config.kernels.optimizer == "te":
            return import_module("transformer_engine.pytorch.optimizers").FusedAdam(
                groups, adam_w_mode=True, **shared
            )
        if config.kernels.optimizer == "apex":
            return import_module("apex.optimizers").FusedAdam(groups, adam_w_mode=True, **shared)
        optimizer = torch.optim.AdamW(groups, **shared)
        for group in optimizer.param_groups:
            group["fused"], group["foreach"] = True, False
        return optimizer

    def begin(self, optimizer: torch.optim.Optimizer, parameter: Tensor) -> None:
        """Set up the count of a parameter's updates, a scalar, which only torch's AdamW keeps for each parameter."""
        if isinstance(optimizer, torch.optim.AdamW):
            step = torch.zeros((), dtype=torch.float32, device=parameter.device)
            optimizer.state[parameter].setdefault("step", step)

    def set_updates(
        self, optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor, updates: int
    ) -> None:
        """Set the number of updates: a scalar of each parameter in torch's AdamW, a group's field in the others."""
        if isinstance(optimizer, torch.optim.AdamW):
            optimizer.state[parameter]["step"].fill_(float(updates))
        else:
            group["step"] = updates


OPTIMIZER = AdamW()
