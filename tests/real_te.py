"""Drives Transformer Engine's own modules, as Slipway's provider chooses and builds them, up to their first kernel.

For a machine without a GPU that has the package with its compiled extension (build-transformer-engine.sh). Modules,
parameters and optimizer are built on fake GPUs (see fake_gpu.py); then each module of the first layer is called, and
the extension's first function that wants numbers ends the call: its arguments have been accepted by then.

Reads a JSON object {name: [compute capability, overrides]} from standard input, and writes {name: what there was, or
the error} to the file named on the command line.
"""

import functools
import json
import sys
import traceback
import types
from pathlib import Path
from typing import Any

import torch

import fake_device
import fake_gpu  # makes the fake device, before Megatron-core is imported
from slipway.config.compose import compose
from slipway.engine.runtime import as_trained, load_torch
from slipway.errors import UserError
from slipway.kernels import probe
from slipway.kernels.choice import backends
from slipway.plan import Plan, make_plan
from slipway.ranks.environment import Place


class Launched(Exception):
    """A function of the extension has taken its arguments, and wants numbers."""


def drive(capability: tuple[int, int], overrides: list[str]) -> dict[str, Any]:
    """One rank's model and optimizer with the chosen kernels; what it holds, and where each module's call ended."""
    probe._compute_capability = lambda: capability
    probe.machine.cache_clear()
    cuda: Any = torch.cuda
    cuda.get_device_capability = lambda *_: capability
    cuda.get_device_properties = lambda *_: types.SimpleNamespace(
        major=capability[0], minor=capability[1], multi_processor_count=132, total_memory=80 << 30
    )
    config = compose(overrides)
    chosen = load_torch(config, 8)
    plan = as_trained(make_plan(config), chosen)
    return {"kernels": backends(chosen), "held": _held(plan), "others": _held(plan, "torch"), **_called(plan)}


def _built(plan: Plan, use: Any) -> Any:
    """use(the rank of a plan), within fake tensors."""
    from slipway.engine.megatron import groups
    from slipway.engine.megatron.engine import ENGINE

    groups._join = fake_gpu._join
    torch.distributed.all_gather_object = fake_gpu._say_the_same
    try:
        device = ENGINE.connect(plan, Place(0, 0, plan.world_size, "127.0.0.1", 0))
        with fake_device.fake_tensors():
            return use(ENGINE.build(plan, device))
    finally:
        ENGINE.disconnect()


def _held(plan: Plan, backend: str | None = None) -> dict[str, list[Any]]:
    """Key and place in a checkpoint -> shape of the whole, dtype, device; backend: instead of the chosen ones."""
    from slipway.engine.megatron import state
    from slipway.engine.megatron.weights import sharded_tensors

    if backend is not None:
        plan = plan.with_kernels(dict.fromkeys(plan.kernels, backend)).with_switches({})

    def use(rank: Any) -> dict[str, list[Any]]:
        found = state.model_state(rank.chunks)["chunk0"]
        return {
            f"{part.key} {part.global_offset}": [
                list(part.global_shape),
                str(part.dtype),
                str(getattr(part.data, "device", None)),
            ]
            for part in sharded_tensors(found)
        }

    return _built(plan, use)


def _called(plan: Plan) -> dict[str, Any]:
    """Module -> the extension's function that ended its call; and that of an update."""
    from megatron.core.utils import get_attr_wrapped_model

    _watch()

    def use(rank: Any) -> dict[str, Any]:
        ends = {}
        layer = get_attr_wrapped_model(rank.chunks[0], "decoder").layers[0]
        for name, module in layer.named_modules():
            theirs = type(module).__module__.startswith(("transformer_engine", "megatron.core.extensions"))
            # grouped products split by numbers, and which attention there is depends on the GPU
            if theirs and not name.startswith(("mlp.experts.", "self_attention.core_attention")):
                ends[name] = _end(lambda module=module: _call(module, plan, layer.config))
        optimizer = getattr(rank.optimizer, "chained_optimizers", [rank.optimizer])[0].optimizer
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        ends["optimizer"] = _end(optimizer.step)
        return {
            "ends": ends,
            "optimizer": f"{type(optimizer).__module__}.{type(optimizer).__name__}",
        }

    return _built(plan, use)


def _call(module: Any, plan: Plan, transformer: Any) -> Any:
    """The module's forward pass on an input of the sizes that its place has."""
    from contextlib import nullcontext

    from megatron.core.fp8_utils import get_fp8_context

    layout, training = plan.config.parallelism, plan.trained.training
    tokens, samples = 32 // layout.context_parallel_size, training.micro_batch_size
    here = tokens // layout.tensor_model_parallel_size if layout.sequence_parallel else tokens

    def made(*shape: int) -> torch.Tensor:
        dtype = torch.bfloat16 if training.precision == "bf16" else torch.float32
        return torch.empty(*shape, dtype=dtype, device=fake_device.GPU, requires_grad=True)

    kind = type(module).__name__
    with get_fp8_context(transformer) if training.fp8 else nullcontext():
        if "Linear" in kind:
            return module(made(here if "Column" in kind else tokens, samples, module.in_features))
        return module(made(here, samples, 64))


def _end(call: Any) -> str:
    try:
        call()
    except Launched as launched:
        first: BaseException = (
            launched  # a context of FP8 wants to update its scales all the same when it ends
        )
        while isinstance(first.__context__, RuntimeError) and isinstance(
            first.__context__.__context__, Launched
        ):
            first = first.__context__.__context__
        return str(first)
    except Exception as error:  # an answer, too
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return "came to its end"


def _watch() -> None:
    """Let every function of the extension name itself when it wants numbers; what it does not take stays an error."""
    extension = sys.modules["transformer_engine_torch"]
    functions = {
        function: _named(name, function)
        for name, function in vars(extension).items()
        if isinstance(function, types.BuiltinFunctionType)
    }
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("transformer_engine"):
            for name, value in list(vars(module).items()):
                if isinstance(value, types.BuiltinFunctionType) and value in functions:
                    setattr(module, name, functions[value])


def _named(name: str, function: Any) -> Any:
    @functools.wraps(function)
    def call(*words: Any, **named: Any) -> Any:
        try:
            return function(*words, **named)
        except TypeError:
            raise  # arguments that it does not have
        except RuntimeError as error:
            raise Launched(f"{name}: {str(error).splitlines()[0]}") from error

    return call


def main() -> None:
    """Drive each in turn."""
    found: dict[str, Any] = {"probed": probe.probe(probe.TRANSFORMER_ENGINE, probe.TE_MODULES).__dict__}
    for name, (capability, overrides) in json.load(sys.stdin).items():
        try:
            found[name] = drive(tuple(capability), overrides)
        except UserError as error:
            found[name] = {"refused": error.parts()}
        except Exception:  # each has its own verdict
            found[name] = {"error": traceback.format_exc()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
