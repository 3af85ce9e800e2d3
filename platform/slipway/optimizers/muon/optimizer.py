"""Muon by torch. Imports torch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from slipway.config.schema import RunConfig
from slipway.optimizers.kind import Held, Wholes
from slipway.optimizers.matrix import Matrix
from slipway.optimizers.muon.config import Config
from slipway.optimizers.muon.newton_schulz import orthogonalized


class Muon(torch.optim.Optimizer):
    """The update of torch.optim.Muon for hidden matrices, that of torch.optim.AdamW for all other parameters.

    momentum <- momentum + (1 - m) (gradient - momentum). With Nesterov's variant, the update is gradient + m (momentum
    - gradient). It is orthogonalized, scaled by the matrix's shape, and subtracted; weight decay is decoupled.
    """

    def __init__(self, groups: list[dict[str, Any]], settings: Config, dtype: torch.dtype) -> None:
        super().__init__(groups, dict(lr=settings.lr, weight_decay=settings.weight_decay))
        self.settings, self.dtype = settings, dtype
        self.held: Sequence[Held] = ()
        self.wholes: Wholes | None = None
        self.mains = set[Tensor]()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update all parameters. All ranks that share matrices must call it."""
        assert closure is None
        assert self.wholes is not None
        for group in self.param_groups:
            self._step_others(group)
        groups = {main: group for group in self.param_groups for main in group["params"]}

        def take(index: int, update: Tensor) -> None:
            main: Any = self.held[index].main
            lr, decay = groups[main]["lr"], groups[main]["weight_decay"]
            main.mul_(1 - lr * decay).add_(update.view_as(main), alpha=-lr)

        self.wholes.apply(self._momentum, self._orthogonal, take)

    def _momentum(self, index: int) -> Tensor:
        """Update the momentum of a matrix and return this rank's elements of the tensor to orthogonalize."""
        main: Any = self.held[index].main
        state, m = self.state[main], self.settings.momentum
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(main)
        gradient, momentum = main.grad, state["momentum_buffer"]
        momentum.lerp_(gradient, 1 - m)
        return (gradient.lerp(momentum, m) if self.settings.nesterov else momentum).to(self.dtype)

    def _orthogonal(self, index: int, whole: Tensor) -> Tensor:
        return each_matrix(self.held[index].matrix, whole, self._update)

    def _update(self, x: Tensor) -> Tensor:
        """Return matrices [matrices, rows, columns] orthogonalized and scaled by their shape."""
        rows, columns = x.shape[-2:]
        if self.settings.adjust_lr_fn == "original":
            scale = max(1.0, rows / columns) ** 0.5
        else:
            scale = 0.2 * max(rows, columns) ** 0.5
        return scale * orthogonalized(x, self.settings.ns_steps)

    def _step_others(self, group: dict[str, Any]) -> None:
        settings = self.settings
        mains = [p for p in group["params"] if p.grad is not None and p not in self.mains]
        for main in mains:
            state = self.state[main]
            for name in ("exp_avg", "exp_avg_sq"):
                if state.get(name) is None:
                    state[name] = torch.zeros_like(main)
            begin_count(self, main)
        states = [self.state[main] for main in mains]
        adamw(
            mains,
            [main.grad for main in mains],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=False,
            fused=True,
            amsgrad=False,
            beta1=settings.beta1,
            beta2=settings.beta2,
            lr=group["lr"] * (settings.adamw_lr or settings.lr) / settings.lr,
            weight_decay=group["weight_decay"],
            eps=settings.eps,
            maximize=False,
        )


def each_matrix(matrix: Matrix, whole: Tensor, function: Any) -> Tensor:
    """Apply a function to each matrix in a weight, [matrices, rows, columns]; return the results, laid out alike."""
    if not matrix.rows:
        return function(whole)
    count, _, columns = whole.shape
    alternating = whole.view(count, -1, sum(matrix.rows), columns)
    parts = [
        function(part.reshape(count, -1, columns)).view(part.shape)
        for part in alternating.split(tuple(matrix.rows), dim=2)
    ]
    return torch.cat(parts, 2).view(whole.shape)


def begin_count(optimizer: Muon, parameter: Tensor) -> None:
    """Set up AdamW's count of a parameter's updates, a scalar."""
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    optimizer.state[parameter].setdefault("step", step)


class Builder:
    """The torch half of Muon: see slipway.optimizers.kind.Builder and MatrixBuilder."""

    def build(self, groups: list[dict[str, Any]], config: RunConfig) -> Muon:
        """Return Muon. It orthogonalizes in bf16 on GPUs if that is the training precision, and otherwise in fp32."""
        settings = config.optimizer
        assert isinstance(settings, Config)
        low = config.training.precision == "bf16" and config.cluster.device.kind == "cuda"
        return Muon(groups, settings, torch.bfloat16 if low else torch.float32)

    def arrange(self, optimizer: torch.optim.Optimizer, held: Sequence[Held], wholes: Wholes) -> None:
        """Take the hidden matrices away from AdamW."""
        assert isinstance(optimizer, Muon)
        optimizer.held, optimizer.wholes = held, wholes
        optimizer.mains = {one.main for one in held if one.main is not None}

    def begin(self, optimizer: torch.optim.Optimizer, parameter: Tensor) -> None:
        """Set up the count of updates, a scalar, of a parameter that AdamW updates; Muon counts none."""
        assert isinstance(optimizer, Muon)
        if parameter not in optimizer.mains:
            begin_count(optimizer, parameter)

    def set_updates(
        self, optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor, updates: int
    ) -> None:
        """Set AdamW's count of a parameter's updates, a scalar; Muon counts none."""
        assert isinstance(optimizer, Muon)
        if parameter not in optimizer.mains:
            optimizer.state[parameter]["step"].fill_(float(updates))


OPTIMIZER = Builder()
