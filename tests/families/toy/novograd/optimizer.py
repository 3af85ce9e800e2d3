"""The torch half."""

from typing import Any

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from toy.novograd.config import Config


class NovoGrad(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state, gradient = self.state[parameter], parameter.grad
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                    state["second"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                square, second = gradient.square().sum(), state["second"]
                second.copy_(torch.where(second == 0, square, beta2 * second + (1 - beta2) * square))
                change = gradient / (second.sqrt() + group["eps"]) + group["weight_decay"] * parameter
                parameter.sub_(group["lr"] * state["momentum"].mul_(beta1).add_(change))


class Builder:
    def build(self, groups: list[dict[str, Any]], config: RunConfig) -> torch.optim.Optimizer:
        settings = config.optimizer
        assert isinstance(settings, Config)
        shared = dict(lr=settings.lr, weight_decay=settings.weight_decay, eps=settings.eps)
        return NovoGrad(groups, {**shared, "betas": (settings.beta1, settings.beta2)})

    def begin(self, optimizer: torch.optim.Optimizer, parameter: Tensor) -> None:
        pass

    def set_updates(
        self, optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor, updates: int
    ) -> None:
        pass


OPTIMIZER = Builder()
