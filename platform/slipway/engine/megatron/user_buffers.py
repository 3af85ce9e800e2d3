"""Transformer Engine's user buffers: tensor-parallel ranks write to each other's memory while products run.

This does what Megatron-LM does for tp_comm_overlap in training/initialize.py (_initialize_tp_communicators):
Megatron-core's linear layers require the buffers when they are built, and make none.
"""

import sys
from importlib import import_module
from typing import Any

import torch

from slipway.config.schema import RunConfig
from slipway.models import network_of
from slipway.plan import switches

MODULE = "transformer_engine.pytorch.module.base"
BOOTSTRAP = "nccl"
"""The backend by which ranks exchange the buffers' addresses: Megatron-core's default."""


def open_them(config: RunConfig) -> None:
    """Make the buffers of all layers, if the run uses them; the process groups must exist.

    Their size is that of the tensors that layers gather: [tokens of a microbatch / context-parallel ranks, width].
    """
    if not switches.values(config).get("tp_comm_overlap"):
        return
    base, layout = _base(), config.parallelism
    tokens, width = network_of(config).boundary(config)
    rows = tokens * config.training.micro_batch_size // layout.context_parallel_size
    base.initialize_ub(
        shape=[rows, width],
        tp_size=layout.tensor_model_parallel_size,
        dtype=torch.bfloat16,
        ub_cfgs={},
        bootstrap_backend=BOOTSTRAP,
        **_precision(base, fp8=config.training.fp8 is not None),
    )


def close_them() -> None:
    """Release the buffers that open_them made, if any."""
    if MODULE in sys.modules and _base()._ub_communicators is not None:
        _base().destroy_ub()


def _precision(base: Any, fp8: bool) -> dict[str, Any]:
    """Return the argument for the products that the buffers serve; versions before 2.7 call it use_fp8."""
    modes = getattr(base, "UserBufferQuantizationMode", None)
    if modes is None:
        return {"use_fp8": fp8}
    return {"quantization_modes": [modes.FP8 if fp8 else modes.NONE]}


def _base() -> Any:
    return import_module(MODULE)
