"""Megatron-core's optimizer around the configured one: how it is built, and one update."""

from typing import Any

import megatron.core.optimizer as megatron_optimizer
import torch
from megatron.core.optimizer import (
    OptimizerConfig,
    clip_grads,
    distrib_optimizer,
    get_megatron_optimizer,
    get_standard_config_overrides,
)
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.optimizer.optimizer import MegatronOptimizer
from megatron.core.utils import local_multi_tensor_l2_norm
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.config.section import OptimizerSection
from slipway.engine.megatron.shards import inner_optimizers
from slipway.optimizers import builder


def build_optimizer(config: RunConfig, chunks: list[Any]) -> MegatronOptimizer:
    """Return the configured optimizer over the model's chunks; biases and norms are not decayed."""
    settings, bf16 = config.optimizer, config.training.precision == "bf16"
    _build_by(config)
    _leave_gradients_on_device()
    options = OptimizerConfig(
        optimizer="sgd",  # its class is replaced below
        lr=settings.lr,
        min_lr=settings.min_lr,
        weight_decay=settings.weight_decay,
        clip_grad=settings.clip_grad,
        bf16=bf16,
        params_dtype=torch.bfloat16 if bf16 else torch.float32,
        use_distributed_optimizer=config.parallelism.use_distributed_optimizer,
    )
    return get_megatron_optimizer(
        options,
        chunks,
        config_overrides=get_standard_config_overrides(options),
        use_gloo_process_groups=False,
    )


def _build_by(config: RunConfig) -> None:
    """Make Megatron-core's factory, which knows two classes by name, use what the optimizer's package builds.

    Its distributed optimizer then checks whether that is an Adam: it can shard any optimizer that works element by
    element.
    """
    factory: Any = megatron_optimizer
    cutting: Any = distrib_optimizer

    def build(groups: list[dict[str, Any]], **_: Any) -> torch.optim.Optimizer:
        optimizer = builder(config).build(groups, config)
        cutting.Adam = type(optimizer)
        return optimizer

    factory.SGD = build


def _leave_gradients_on_device() -> None:
    """Keep Megatron-core from waiting for the device at every gradient's norm, as it does without TE and apex."""
    module: Any = clip_grads
    if module.l2_norm_impl is local_multi_tensor_l2_norm:
        module.l2_norm_impl, module.multi_tensor_scale_impl = _norm, _scale


def _norm(chunk_size: int, overflow: Tensor, tensors: list[list[Tensor]], *_: Any) -> tuple[Tensor, None]:
    """Return the L2 norm, [1], of all tensors together; a stand-in for apex's kernel, with its arguments."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors[0]))).view(1), None


def _scale(chunk_size: int, overflow: Tensor, tensors: list[list[Tensor]], factor: float) -> None:
    """Multiply all tensors by a factor, in place; both lists are the same."""
    torch._foreach_mul_(tensors[0], factor)


def prepare_gradients(optimizer: MegatronOptimizer) -> float:
    """Prepare the reduced gradients for an update; return the L2 norm of the whole gradient."""
    optimizer.prepare_grads()
    return float(optimizer.get_grad_norm())


@torch.no_grad()
def update(
    optimizer: MegatronOptimizer, settings: OptimizerSection, learning_rate: float, grad_norm: float
) -> None:
    """Clip the prepared gradients to the norm settings.clip_grad (0: do not clip), and step."""
    _set_groups(optimizer, learning_rate, settings.weight_decay)
    for inner in inner_optimizers(optimizer) if settings.clip_grad > 0 else []:
        if parameters := inner.get_parameters():
            clip_grad_by_total_norm_fp32(parameters, max_norm=settings.clip_grad, total_norm=grad_norm)
    optimizer.step_with_ready_grads()


def _set_groups(optimizer: MegatronOptimizer, learning_rate: float, weight_decay: float) -> None:
    """Set the learning rate and the weight decay of each group of parameters, from the configuration at every update.

    Megatron-core only notes each group's multipliers (wd_mult 0 for biases and norms); its OptimizerParamScheduler,
    which this replaces, applies them.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_mult"]
        group["weight_decay"] = weight_decay * group["wd_mult"]
