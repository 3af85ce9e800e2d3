"""A GPU that has tensors and computes nothing: torch's FakeTensorMode, where torch itself sees no GPU.

Tensors know their device, shape and dtype, and mixing devices is an error, as on a real one. Python sees the device
as cuda, torch's C++ sees meta: its autograd would ask the CUDA library for streams. To be installed before
Megatron-core is imported, in a process of its own.
"""

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import torch
from torch._C._distributed_c10d import FakeWork
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

GPU, META = torch.device("cuda", 0), torch.device("meta")
DEVICE_QUERY, NUMBER = torch.ops.prim.device.default, torch.ops.aten._local_scalar_dense.default


def install() -> None:
    """Let this process believe that it has a GPU. For the life of the process."""
    _answer_for_cuda()
    _show_meta_to_cpp()
    _refill_parameters()
    torch.compile = lambda function=None, **_: function or (lambda function: function)  # type: ignore[assignment]


def _answer_for_cuda() -> None:
    """What is asked of the CUDA library, and cannot be asked of a tensor."""
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1  # whatever the local rank: as where a launcher shows each rank its own GPU
    cuda.current_device = lambda: GPU  # not its number, for which torch would look up an accelerator
    for name in ("set_device", "synchronize", "empty_cache"):
        setattr(cuda, name, lambda *_: None)  # each its own: torch's compiler knows functions by identity
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.is_current_stream_capturing = lambda: False  # asked by torch's optimizers
    cuda.max_memory_allocated = lambda *_: 0
    for name in ("Stream", "Event", "current_stream", "default_stream"):
        setattr(cuda, name, MagicMock())
    cuda.stream = lambda *_: contextlib.nullcontext()
    # setting a state is put off until CUDA starts, which it never does; CUDA gives it on the CPU
    cuda.get_rng_state = cuda.random.get_rng_state = lambda *_, **__: torch.zeros(16, dtype=torch.uint8)
    cuda.default_generators = dict.fromkeys((GPU, GPU.index), _Generator())
    cuda._lazy_init = lambda: None  # Megatron-core starts CUDA before it asks for a generator
    # recording launches is for a GPU, all that comes before it is not
    cuda.graph_pool_handle = lambda: (0, 1)
    cuda.set_stream = lambda *_: None
    if not hasattr(cuda.CUDAGraph, "register_generator_state"):  # a build of torch for CPUs
        cuda.CUDAGraph.register_generator_state = None
    # without arguments: torch would start CUDA for a word
    torch.Tensor.cuda = lambda self, *_, **__: self.to(GPU)  # type: ignore[method-assign,assignment]


class _Generator(torch.Generator):
    """A GPU's, which graphs can advance: with a state, and nothing to draw."""

    def clone_state(self) -> "_Generator":
        return _Generator()

    def graphsafe_get_state(self) -> "_Generator":
        return self

    def graphsafe_set_state(self, state: torch.Generator) -> "_Generator":
        return self

    def get_state(self) -> torch.Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_state(self, state: Any) -> "_Generator":  # type: ignore[override]
        assert isinstance(state, torch.Tensor)
        return self


def _show_meta_to_cpp() -> None:
    kind: Any = FakeTensor
    dispatch = kind.__torch_dispatch__.__func__

    def for_cpp(tensor: Any) -> torch.device:
        inside = tensor.fake_mode.in_kernel_invocation  # where torch computes shapes
        return META if inside or tensor.fake_device.type == "cuda" else tensor.fake_device

    def show(cls: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return for_cpp(args[0]) if func is DEVICE_QUERY else dispatch(cls, func, types, args, kwargs or {})

    def type_name(tensor: Any, *words: Any, **options: Any) -> Any:
        result = torch.Tensor.type(tensor, *words, **options)
        return result.replace(".meta.", ".cuda.") if isinstance(result, str) else result

    kind.__torch_dispatch__ = classmethod(show)
    fake_tensor._DISPATCH_META_HANDLERS[DEVICE_QUERY] = lambda args: for_cpp(args[0])
    # what C++ would tell Python from the device
    distributed: Any = DTensor
    distributed.device = property(lambda tensor: tensor._local_tensor.device)
    for each in (kind, distributed):
        each.is_cuda = property(lambda tensor: tensor.device.type == "cuda")
        each.is_meta = property(lambda tensor: tensor.device.type == "meta")
        each.type = type_name
    kind.pin_memory = _pinned
    kind.record_stream = lambda tensor, stream: None
    # of a step: a loss, a count, and nothing that is wrong; one transfer, whatever the length
    kind.tolist = lambda tensor: [tensor[0].item(), 1.0, *[0.0] * (len(tensor) - 2)]
    FakeTensorMode.avoid_device_init = property(lambda mode: True)  # type: ignore[assignment]


def _pinned(tensor: Any) -> Any:
    tensor.is_in_pinned_memory = True
    return tensor


def _refill_parameters() -> None:
    """Module.to would replace fake parameters, and lose what is noted on them; real ones it fills with new data."""
    plain: Any = torch.Tensor.data

    def fill(tensor: Any, data: Any) -> None:
        plain.__set__(tensor, data)
        tensor.fake_device = data.fake_device  # torch leaves it as it was

    def apply(module: Any, change: Any, recurse: bool = True) -> Any:
        for child in module.children() if recurse else []:
            child._apply(change)
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.data = change(parameter.data)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else change(buffer)
        return module

    FakeTensor.data = property(plain.__get__, fill)  # type: ignore[assignment]
    torch.nn.Module._apply = apply  # type: ignore[method-assign]


class _Words(TorchFunctionMode):
    """What the program says to torch's C++ and only a CUDA library could take."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device and args in (("cuda",), (f"cuda:{GPU}",)):
            return GPU  # the current one; a text with current_device() in it
        named = {name: value for name, value in (kwargs or {}).items() if name != "pin_memory"}
        return func(*args, **named)


class _OnGpu(FakeTensorMode):
    """What C++ makes like a tensor that it sees on meta is on the GPU."""

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if named.get("device") == META:
            named["device"] = GPU
        return super().dispatch(func, types, args, named)


class Numbers(TorchDispatchMode):
    """Answers wherever a number is needed, and counts where the CPU waits for the GPU or does something itself.

    held_up: where it waits for a copy to the GPU to be made, which it need not from pinned memory.
    own: the operators of Slipway that were called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.on_cpu: Counter[str] = Counter()
        self.held_up: Counter[str] = Counter()
        self.own: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        before = _devices((args, named))
        if func is NUMBER and getattr(args[0], "constant", None) is None:
            if "cuda" in before:
                self.waits[_where()] += 1
            return 1.0 if args[0].is_floating_point() else 2**30  # a slice up to there is everything
        if func is torch.ops.aten.masked_select.default:  # everything is selected
            self.waits[_where()] += 1
            return args[0].new_empty(torch.broadcast_shapes(args[0].shape, args[1].shape).numel())
        if func.namespace == "c10d":
            assert "cpu" not in before or "barrier" in func.name(), "NCCL takes nothing that is on the CPU"
            if "coalesced" in func.name():  # of these FakeTensorMode knows nothing
                return FakeWork().boxed()
        if func.namespace == "slipway":
            self.own.add(func.name().partition("::")[2])
        result = func(*args, **named)
        after = _devices(result)
        free = named.get("non_blocking") and getattr(next(iter(args), None), "is_in_pinned_memory", False)
        if before == {"cpu"} and after == {"cuda"} and not free:
            self.held_up[_where()] += 1
        if "cuda" in before and "cpu" in after:
            self.waits[_where()] += 1
        elif "cpu" in before | after and func is not DEVICE_QUERY:
            self.on_cpu[_where()] += 1
        return result


def _devices(values: Any) -> set[str]:
    return {value.device.type for value in tree_leaves(values) if isinstance(value, torch.Tensor)}


def _where() -> str:
    """The file of Slipway or Megatron-core that has led here, wherever they are installed."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(("slipway.", "megatron.core.")):
            return module.replace(".", "/") + ".py"
        frame = frame.f_back
    return "?"


@contextlib.contextmanager
def fake_tensors() -> Iterator[Numbers]:
    """Within, every tensor is fake."""
    with _Words(), _OnGpu(allow_non_fake_inputs=True), Numbers() as numbers:
        yield numbers


real_tensors = _disable_current_modes  # within fake_tensors


def with_numbers(owner: type, name: str) -> None:
    """Let a method or property have real tensors, on the CPU, also within fake_tensors."""
    found = vars(owner)[name]
    function: Any = found.fget if isinstance(found, property) else found
    if hasattr(function, "__wrapped__"):  # done before
        return

    @functools.wraps(function)
    def real(*words: Any, **named: Any) -> Any:
        with _disable_current_modes():
            return function(*words, **named)

    setattr(owner, name, property(real) if isinstance(found, property) else real)
