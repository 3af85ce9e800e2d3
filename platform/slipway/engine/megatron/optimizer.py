"""Megatron-core's optimizer, and its state parameter by parameter, whatever its class and sharding."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import megatron.core.optimizer as megatron_optimizer
import torch
from megatron.core.optimizer import (
    OptimizerConfig,
    clip_grads,
    get_megatron_optimizer,
    get_standard_config_overrides,
)
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.optimizer.optimizer import Float16OptimizerWithFloat16Params, MegatronOptimizer
from megatron.core.utils import local_multi_tensor_l2_norm, to_local_if_dtensor
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.config.section import OptimizerSection
from slipway.engine.megatron import fully_sharded
from slipway.optimizers.adamw.config import Config as AdamW

MOMENTS = ("exp_avg", "exp_avg_sq")


def build_optimizer(config: RunConfig, chunks: list[Any]) -> MegatronOptimizer:
    """AdamW over the model's chunks; biases and norms are not decayed."""
    settings = config.optimizer
    assert isinstance(settings, AdamW)
    _choose_adam(config.kernels.optimizer)
    _leave_gradients_on_device()
    options = OptimizerConfig(
        optimizer="adam",
        lr=settings.lr,
        min_lr=settings.min_lr,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.beta1,
        adam_beta2=settings.beta2,
        adam_eps=settings.eps,
        clip_grad=settings.clip_grad,
        bf16=config.training.precision == "bf16",
        params_dtype=torch.bfloat16 if config.training.precision == "bf16" else torch.float32,
        use_distributed_optimizer=config.parallelism.use_distributed_optimizer,
    )
    optimizer = get_megatron_optimizer(
        options,
        chunks,
        config_overrides=get_standard_config_overrides(options),
        use_gloo_process_groups=False,
    )
    for inner in _inner(optimizer):
        if isinstance(inner.optimizer, torch.optim.AdamW):  # torch's, where neither TE nor apex is installed
            for group in inner.optimizer.param_groups:
                group["fused"], group["foreach"] = True, False
    return optimizer


def _choose_adam(backend: str | None) -> None:
    """Megatron-core takes the first FusedAdam that it can import; here the configuration decides."""
    if backend is None:
        return
    module: Any = megatron_optimizer
    if backend == "torch":
        adam = torch.optim.AdamW
    elif backend == "te":
        adam = import_module("transformer_engine.pytorch.optimizers").FusedAdam
    else:
        adam = import_module("apex.optimizers").FusedAdam
    module.Adam, module.USING_PYTORCH_OPTIMIZER = adam, backend == "torch"


def _leave_gradients_on_device() -> None:
    """Without TE and apex Megatron-core would wait for the device at every gradient, once for each one's norm."""
    module: Any = clip_grads
    if module.l2_norm_impl is local_multi_tensor_l2_norm:
        module.l2_norm_impl, module.multi_tensor_scale_impl = _norm, _scale


def _norm(chunk_size: int, overflow: Tensor, tensors: list[list[Tensor]], *_: Any) -> tuple[Tensor, None]:
    """L2 norm [1] of all together, in the place and with the arguments of apex's kernel."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors[0]))).view(1), None


def _scale(chunk_size: int, overflow: Tensor, tensors: list[list[Tensor]], factor: float) -> None:
    """All times a factor, alike; both lists are the same."""
    torch._foreach_mul_(tensors[0], factor)


def prepare_gradients(optimizer: MegatronOptimizer) -> float:
    """Make the reduced gradients ready for an update; returns the L2 norm of the whole gradient."""
    optimizer.prepare_grads()
    return float(optimizer.get_grad_norm())


@torch.no_grad()
def update(
    optimizer: MegatronOptimizer, settings: OptimizerSection, learning_rate: float, grad_norm: float
) -> None:
    """Clip the prepared gradients to the norm settings.clip_grad (0: do not), and step."""
    _set_groups(optimizer, learning_rate, settings.weight_decay)
    for inner in _inner(optimizer) if settings.clip_grad > 0 else []:
        if parameters := inner.get_parameters():
            clip_grad_by_total_norm_fp32(parameters, max_norm=settings.clip_grad, total_norm=grad_norm)
    optimizer.step_with_ready_grads()


def _set_groups(optimizer: MegatronOptimizer, learning_rate: float, weight_decay: float) -> None:
    """Give each group of parameters its learning rate and its weight decay, from the configuration at every update.

    Megatron-core only notes each group's multipliers (wd_mult 0 for biases and norms); its OptimizerParamScheduler,
    which this replaces, is what applies them.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_mult"]
        group["weight_decay"] = weight_decay * group["wd_mult"]


@dataclass(frozen=True)
class Shard:
    """The part of one model parameter whose optimizer state this rank holds.

    start, end: elements of the flattened parameter; equal where another data-parallel rank holds all of it,
    and then main, adam and group are None. main: the fp32 copy that Adam updates, end - start elements in any
    shape; where the model is fp32 it is the parameter itself. replicated: every data-parallel rank holds the
    same. cut: the parameter itself is cut like its state, and whole only while it is used; main is what is kept.
    """

    parameter: Tensor
    start: int = 0
    end: int = 0
    main: Any = None
    adam: Any = None
    group: Any = None
    replicated: bool = False
    cut: bool = False

    @property
    def has_main_copy(self) -> bool:
        """Whether main is an fp32 copy that a checkpoint must hold."""
        return self.parameter.dtype != torch.float32

    def moments(self) -> dict[str, Tensor]:
        """exp_avg and exp_avg_sq, made as zeros before the first update; for a shard that is not empty."""
        state = self.adam.state[self.main]
        for name in MOMENTS:
            if name not in state:
                state[name] = torch.zeros_like(self.main)
        if isinstance(self.adam, torch.optim.AdamW) and "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=self.main.device)
        return {name: to_local_if_dtensor(state[name]) for name in MOMENTS}

    def kept(self) -> Tensor:
        """This rank's elements of main."""
        return to_local_if_dtensor(self.main).detach()

    def set_step(self, step: int) -> None:
        """Number of updates so far, where this Adam keeps it: per parameter (torch) or per group (TE, apex)."""
        if isinstance(self.adam, torch.optim.AdamW):
            self.adam.state[self.main]["step"].fill_(float(step))
        else:
            self.group["step"] = step


def shards(optimizer: MegatronOptimizer) -> Iterator[Shard]:
    """Every shard of this rank, in the same order on all data-parallel ranks."""
    for inner in _inner(optimizer):
        adam = inner.optimizer
        if isinstance(inner, DistributedOptimizer):
            sharded = fully_sharded.is_fully_sharded(inner.model_chunks[0])
            yield from _fully_sharded_shards(inner) if sharded else _distributed_shards(inner)
        elif isinstance(inner, Float16OptimizerWithFloat16Params):
            for group, models, mains, fp32 in zip(
                adam.param_groups,
                inner.float16_groups,
                inner.fp32_from_float16_groups,
                inner.fp32_from_fp32_groups,
                strict=True,
            ):
                for model, main in [*zip(models, mains, strict=True), *((p, p) for p in fp32)]:
                    yield Shard(model, 0, model.numel(), main, adam, group, True)
        else:
            for group in adam.param_groups:
                for parameter in group["params"]:
                    yield Shard(parameter, 0, parameter.numel(), parameter, adam, group, True)


def _distributed_shards(inner: DistributedOptimizer) -> Iterator[Shard]:
    adam = inner.optimizer
    for buffer in inner.buffers:
        for parameter in buffer.param_index_map:
            if parameter not in inner.model_param_gbuf_map:
                yield Shard(parameter)
                continue
            span = inner._get_model_param_range_map(parameter)["param"]
            index, order = inner.model_param_group_index_map[parameter]
            group = adam.param_groups[index]
            yield Shard(parameter, span.start, span.end, group["params"][order], adam, group)


def _fully_sharded_shards(inner: Any) -> Iterator[Shard]:
    adam = inner.optimizer
    groups = {main: group for group in adam.param_groups for main in group["params"]}
    for chunk in inner.model_chunks:
        for parameter, start, end, main in fully_sharded.stretches(chunk):
            if start == end:
                yield Shard(parameter, cut=True)
            else:
                yield Shard(parameter, start, end, main, adam, groups[main], cut=True)


def _inner(optimizer: MegatronOptimizer) -> list[Any]:
    """The optimizers inside: one for dense and one for expert parameters, those without parameters left out."""
    chained = getattr(optimizer, "chained_optimizers", [optimizer])
    return [o for o in chained if o.optimizer is not None and not getattr(o, "is_stub_optimizer", False)]
