"""Transformer Engine's user buffers: what it is asked for, and when. It is not here: a module notes the calls."""

import subprocess
import sys

PROGRAM = """
import enum, sys, types
import torch
import slipway.models.gpt.network  # and with it Megatron-core, which would ask the module below for more
from slipway.config.compose import compose
from slipway.engine.megatron import user_buffers

calls = []
base = types.ModuleType("transformer_engine.pytorch.module.base")
base._ub_communicators = None
def initialize_ub(**named):
    calls.append(named)
    base._ub_communicators = {}
def destroy_ub():
    calls.append("destroyed")
    base._ub_communicators = None
base.initialize_ub, base.destroy_ub = initialize_ub, destroy_ub
for name in ("transformer_engine", "transformer_engine.pytorch", "transformer_engine.pytorch.module"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["transformer_engine.pytorch.module"].base = base
sys.modules["transformer_engine.pytorch.module.base"] = base

RUN = ["model=llama3_8b", "data=bytes", "cluster=jupiter_booster", "resources.nodes=2", "training.steps=10"]
RUN += ["training.precision=bf16", "optimizer.lr=1e-4", "kernels.linear=te", "training.micro_batch_size=2"]
RUN += ["parallelism.tensor_model_parallel_size=2", "parallelism.sequence_parallel=true"]
RUN += ["parallelism.context_parallel_size=2"]

def asked(*words):
    calls.clear()
    user_buffers.open_them(compose([*RUN, *words]))
    for _ in range(2):
        user_buffers.close_them()
    return list(calls)

HIDDEN, FP8 = "parallelism.tp_comm_overlap=true", "training.fp8=hybrid"
assert asked() == []
same = dict(shape=[8192, 4096])  # 2 samples x 8192 tokens / 2 context-parallel ranks, hidden size
same |= dict(tp_size=2, dtype=torch.bfloat16, ub_cfgs={}, bootstrap_backend="nccl")
assert asked(HIDDEN) == [same | {"use_fp8": False}, "destroyed"], calls
assert asked(HIDDEN, FP8) == [same | {"use_fp8": True}, "destroyed"], calls
Mode = base.UserBufferQuantizationMode = enum.Enum("Mode", ["NONE", "FP8"])  # since version 2.7
assert asked(HIDDEN) == [same | {"quantization_modes": [Mode.NONE]}, "destroyed"], calls
assert asked(HIDDEN, FP8) == [same | {"quantization_modes": [Mode.FP8]}, "destroyed"], calls
"""


def test_buffers_of_what_the_layers_gather_are_asked_for_and_given_back() -> None:
    words = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
