"""Run Megatron-core, which was written for CUDA, on CPU tensors and gloo. Imported only without an accelerator.

Megatron-core names CUDA devices in factories, type names, streams and RNG calls. This module redirects all of them,
once per process and before Megatron-core is used; a GPU run never imports it. Verified with Megatron-core 0.16.1 and
0.19.2 (tests/train/test_parity.py runs on both).
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

_CPU = torch.device("cpu")
# Functions that make a tensor and take a device, besides torch's own list of constructors.
_ALIKE = ("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like", "zeros_like")
_OF_TENSORS = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros")


def _to_cpu(device: Any) -> Any:
    """Return the device, with CUDA's mapped to the CPU; torch takes a number for a CUDA device."""
    named = isinstance(device, str | torch.device) and str(device).startswith("cuda")
    return _CPU if named or isinstance(device, int) else device


def _made_on_cpu(make: Callable) -> Callable:
    """Return a factory of tensors that maps CUDA devices to CPU and drops pinning."""

    @functools.wraps(make)
    def made(*args: Any, **options: Any) -> Any:
        if "device" in options:
            options["device"] = _to_cpu(options["device"])
        options.pop("pin_memory", None)
        return make(*args, **options)

    return made


class Devices(TorchFunctionMode):
    """A mode in which torch.device makes CPU devices of CUDA's.

    Megatron-core's FSDP writes f"cuda:{torch.cuda.current_device()}", and only a mode sees how a device is made; but a
    mode is called for every operation, so it should end soon.
    """

    def __torch_function__(
        self,
        func: Callable,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.device and args and str(args[0]).startswith("cuda"):
            return _CPU
        return func(*args, **(kwargs or {}))


class _Stream:
    """A stream whose work is already done."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None

    def record_event(self, event: Any = None) -> "_Event":
        return event or _Event()

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class _Event(_Stream):
    """An event that has already happened."""

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: object) -> float:
        return 0.0


@functools.cache
def install() -> None:
    """Redirect CUDA to the CPU in this process. Does nothing the second time."""
    assert not torch.cuda.is_available(), "the CPU adapter must not be used where there is a GPU"
    assert "megatron.core" not in sys.modules, "the CPU adapter comes before Megatron-core"

    _leave_out_dynamo()
    _import_megatron()
    _redirect_factories()
    _redirect_torch()
    _complete_one_by_one()
    _redirect_megatron()


def _leave_out_dynamo() -> None:
    """Skip the import of torch's compiler, which takes two seconds at each start: nothing is compiled here.

    torch's optimizers import it only to exclude their methods from compilation; so do distributed tensors and FSDP's
    hooks, at every call.
    """
    torch.compiler.disable = lambda fn=None, *args, **kwargs: fn or (lambda fn: fn)  # type: ignore[assignment]
    for method in [*vars(torch.optim.Optimizer).values(), DTensor.__init__]:
        plain = getattr(method, "__wrapped__", None)
        if plain is not None:
            setattr(plain, "__dynamo_disable", plain)  # noqa: B010 (a plain assignment would be mangled in a class)
    torch.optim.Adam.step = torch.no_grad()(torch.optim.Adam.step.__wrapped__)  # type: ignore[attr-defined]


def _import_megatron() -> None:
    """Import Megatron-core without compiling its small fused functions, and without wandb for its inference."""
    compile_, wandb = torch.compile, sys.modules.get("wandb")
    torch.compile = lambda function: function  # type: ignore[assignment]
    sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        import megatron.core.jit
    finally:
        torch.compile = compile_
        del sys.modules["wandb"]
        if wandb is not None:
            sys.modules["wandb"] = wandb
    megatron.core.jit.disable_jit_fuser()  # for what is imported later


def _redirect_factories() -> None:
    """Make and move tensors on the CPU, whatever CUDA device is named, and report CUDA's type names for them.

    The functions are replaced one by one: a TorchFunctionMode around everything would see these, too, and would cost a
    small model's step a sixth of its time.
    """
    made = {id(make) for make in _device_constructors()}  # torch caches these functions
    names = [name for name, value in vars(torch).items() if id(value) in made]
    for owner, name in [
        *((torch, name) for name in (*names, *_ALIKE)),
        *((torch.Tensor, n) for n in _OF_TENSORS),
    ]:
        setattr(owner, name, _made_on_cpu(getattr(owner, name)))
    to, type_ = torch.Tensor.to, torch.Tensor.type

    @functools.wraps(to)
    def to_cpu(self: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if "device" in options:
            options["device"] = _to_cpu(options["device"])
        if args and isinstance(args[0], str | torch.device):
            args = (_to_cpu(args[0]), *args[1:])
        return to(self, *args, **options)

    @functools.wraps(type_)
    def of_cuda(self: torch.Tensor, *args: Any, **options: Any) -> Any:
        found = type_(self, *args, **options)
        # the optimizers compare names such as 'torch.cuda.FloatTensor'; a mode calls this from within itself
        return re.sub(r"^torch\.(?!cuda\.)", "torch.cuda.", found) if isinstance(found, str) else found

    torch.Tensor.to = to_cpu
    torch.Tensor.type = of_cuda


def _redirect_torch() -> None:
    cuda: Any = torch.cuda
    cuda.current_device = lambda: _CPU
    # separate functions: torch's compiler, if anything imports it, identifies functions by identity
    cuda.set_device = lambda *args, **kwargs: None
    cuda.synchronize = lambda *args, **kwargs: None
    cuda.empty_cache = lambda *args, **kwargs: None
    cuda.Stream = _Stream
    cuda.Event = _Event
    cuda.current_stream = lambda *args, **kwargs: _Stream()
    cuda.default_stream = lambda *args, **kwargs: _Stream()
    cuda.stream = lambda *args, **kwargs: contextlib.nullcontext()
    cuda.get_rng_state = lambda *args, **kwargs: torch.get_rng_state()
    cuda.set_rng_state = lambda state, *args, **kwargs: torch.set_rng_state(state)
    cuda.random.get_rng_state = lambda *args, **kwargs: torch.get_rng_state()
    cuda.random.set_rng_state = lambda state, *args, **kwargs: torch.set_rng_state(state)
    cuda.manual_seed = lambda seed: torch.manual_seed(seed)
    torch.Tensor.cuda = lambda self, *args, **kwargs: self
    torch.nn.Module.cuda = lambda self, *args, **kwargs: self


def _complete_one_by_one() -> None:
    """Give each gloo group one thread for its collectives, instead of torch's two.

    Each thread stores, without a lock, the name of the collective that it has completed in the same string of the group
    (ProcessGroupGloo::runLoop). "ALLGATHER_COALESCED" is too long to be held in the string itself: two threads at once
    release the old name twice, and its memory is soon used by something else. ZeRO-3, which has many such gathers in
    flight, crashed on it.
    """
    gloo: Any = torch.distributed.ProcessGroupGloo
    with_options = gloo.__init__

    def with_timeout(self: Any, store: Any, rank: int, size: int, timeout: timedelta, **newer: Any) -> None:
        options = gloo._Options()  # as torch makes them from a timeout
        names = os.environ.get("GLOO_SOCKET_IFNAME")
        devices = [gloo.create_device(interface=name) for name in names.split(",")] if names else []
        options._devices = devices or [gloo.create_default_device()]
        options._timeout = timeout
        options._threads = 1
        for name, value in newer.items():  # 2.15: enable_reconfigure
            setattr(options, name, value)
        with_options(self, store, rank, size, options)

    gloo.__init__ = with_timeout


def _redirect_megatron() -> None:
    import megatron.core.tensor_parallel.random as rng
    from megatron.core.transformer.moe import token_dispatcher

    dispatcher: Any = token_dispatcher
    dispatcher.maybe_move_tensor_to_cpu = _as_numbers
    torch.distributed.all_gather = _all_gather_uneven(torch.distributed.all_gather)
    module: Any = rng
    module._get_cuda_rng_state = lambda *args, **kwargs: torch.get_rng_state()
    module._set_cuda_rng_state = lambda state, *args, **kwargs: torch.set_rng_state(state)
    module.CudaRNGStatesTracker.fork = _fork


def _as_numbers(tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
    """Return the token counts to send: Megatron-core moves them off a GPU, and leaves CPU tensors as they are."""
    return tensor.numpy() if as_numpy and isinstance(tensor, torch.Tensor) else tensor


def _all_gather_uneven(all_gather: Callable) -> Callable:
    """Return an all_gather for tensors of different lengths: NCCL supports them, gloo only equal ones.

    Tensors are padded to the longest length, and the padding is cut off again.
    """

    def gather(outputs: list[torch.Tensor], own: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        longest = max(map(len, outputs)) if outputs and outputs[0].dim() else 0
        if all(len(output) == longest for output in outputs if longest):
            return all_gather(outputs, own, *args, **kwargs)
        assert not kwargs.get("async_op"), "what is cut off must have come"
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: len(own)] = own
        whole = [torch.empty_like(padded) for _ in outputs]
        work = all_gather(whole, padded, *args, **kwargs)
        for output, full in zip(outputs, whole, strict=True):
            output.copy_(full[: len(output)])
        return work

    return gather


@contextlib.contextmanager
def _fork(tracker: Any, name: str = "model-parallel-rng") -> Iterator[None]:
    """Draw from the tracker's state `name` inside; forks may be nested.

    Megatron-core's own would warn each time that the host's generator was used: here it is the device's.
    """
    outer, before = tracker._current_state_name, torch.get_rng_state()
    nested = outer in tracker.states_  # else it is the default generator, which the tracker does not hold
    if nested:
        tracker.states_[outer] = before
    torch.set_rng_state(tracker.states_[name])
    tracker._current_state_name = name
    try:
        yield
    finally:
        tracker.states_[name] = torch.get_rng_state()
        torch.set_rng_state(tracker.states_[outer] if nested else before)
        tracker._current_state_name = outer
