"""Times the parts of a training step on one rank beside the others: products, attention, operators, exchanges.

All ranks measure at the same time, as they would train: on a laptop they share cores and memory. The work of one device
is timed as it occurs in a step: on operands that are not in a cache, because other layers have run in between, and as
the mean of many calls, because a step is their sum. The median over a few groups of calls keeps out a disturbance by
another program. Exchanges, in which ranks wait for the slowest, take the lower quartile of several calls. They are
timed between products: ranks that have just computed do not arrive at the same moment, and on a CPU waking the one that
waits takes longer than sending a layer's message. Imports torch.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributed as dist

from slipway.bench.ceilings import copy_bytes_per_second, synchronize
from slipway.bench.device.timed import Timed
from slipway.kernels import products

SIDES = {"cpu": (64, 256, 512, 1024), "cuda": (512, 1024, 2048, 4096, 8192)}
"""Sides of the matrices, in all combinations."""
LARGEST_FLOP = {"cpu": 2e9, "cuda": 2e12}
HEADS = {
    "cpu": ((256, 4, 64), (512, 8, 64), (1024, 8, 32)),
    "cuda": ((2048, 32, 128), (4096, 32, 128), (8192, 16, 64)),
}
"""Sizes of attention: tokens, heads, size of a head."""
EXPERTS = {"cpu": (4, 128, 256, 512), "cuda": (8, 2048, 4096, 2048)}
"""Number of experts, rows of each, columns in and out."""
WIDE = {"cpu": (2048, 1024), "cuda": (8192, 8192)}
"""Rows and columns of the tensor on which operators without a product are timed."""
MESSAGES = {"cpu": (2**12, 2**16, 2**20, 2**22, 2**24), "cuda": (2**12, 2**16, 2**20, 2**24, 2**28)}
"""Bytes that are exchanged."""
SECONDS = 0.15
"""Time for which each call is repeated, at least once in each group."""
GROUPS = 5
"""Groups of calls, whose median mean is used."""
COLD_BYTES = {"cpu": 2**25, "cuda": 2**28}
"""Bytes of all operands that calls take in turn: more than a core's, or a device's, cache."""
MOST_SETS = 32
"""Sets of operands at most: tiny ones stay in the cache in a step, too."""
ROUNDS = 8
"""Rounds of a product and an exchange that are timed together."""


def device_samples(device: torch.device, dtype: torch.dtype) -> Iterator[Timed]:
    """Yield the times of the work that one device does by itself."""
    yield from _products(device, dtype)
    yield from _grouped(device, dtype)
    yield from _attention(device, dtype)
    size = 2**28
    yield Timed("copy", size / copy_bytes_per_second(device), moved_bytes=size)
    yield from _operators(device, dtype)


def exchange_samples(device: torch.device, dtype: torch.dtype) -> Iterator[Timed]:
    """Yield the times of the exchanges of all ranks; none if there is only one."""
    ranks = dist.get_world_size()
    if ranks == 1:
        return
    side = SIDES[device.type][-2]
    x, weight = _random((side, side), device, dtype), _random((side, side), device, dtype)

    def work() -> object:
        return products.linear(x, weight)

    for size in MESSAGES[device.type]:
        count = size // 4 // ranks * ranks
        whole, part = torch.ones(count, device=device), torch.ones(count // ranks, device=device)
        calls: dict[str, Callable[[], object]] = {
            "all_reduce": lambda whole=whole: dist.all_reduce(whole),
            "all_gather": lambda whole=whole, part=part: dist.all_gather_into_tensor(whole, part),
            "reduce_scatter": lambda whole=whole, part=part: dist.reduce_scatter_tensor(part, whole),
        }
        for kind, call in calls.items():
            yield Timed(kind, _between(call, work, device), size=whole.nbytes)
    yield _beside(device, dtype)


def _products(device: torch.device, dtype: torch.dtype) -> Iterator[Timed]:
    """Yield the times of a linear layer's product, its input's gradient and its weight's.

    The weight's gradient is added to an fp32 one.
    """
    sides = SIDES[device.type]
    for m, n, k in ((m, n, k) for m in sides for n in sides for k in sides):
        flop = 2.0 * m * n * k
        if flop > LARGEST_FLOP[device.type]:
            continue
        size = dtype.itemsize
        sets = _sets(size * (m * k + n * k + m * n) + 4 * n * k, device)
        xs, weights, gradients = (
            [_random(shape, device, dtype) for _ in range(sets)] for shape in ((m, k), (n, k), (m, n))
        )
        mains = [torch.zeros(n, k, device=device) for _ in range(sets)]

        def accumulate(x: Tensor, gradient: Tensor, main: Tensor) -> None:
            if main.dtype == x.dtype:
                torch.addmm(main, gradient.t(), x, out=main)
            else:
                main.add_(gradient.t().mm(x))

        calls: tuple[tuple[Sequence[Callable[[], object]], int], ...] = (
            ([partial(products.linear, *each) for each in zip(xs, weights, strict=True)], size),
            (
                [
                    partial(products.linear, gradient, weight.t())
                    for gradient, weight in zip(gradients, weights, strict=True)
                ],
                size,
            ),
            ([partial(accumulate, *each) for each in zip(xs, gradients, mains, strict=True)], 8),
        )
        for (each, output), (rows, columns, inner) in zip(
            calls, ((m, n, k), (m, k, n), (n, k, m)), strict=True
        ):
            moved = size * inner * (rows + columns) + output * rows * columns
            yield Timed("linear", _seconds(each, device), flop, moved, output, shape=(rows, columns, inner))


def _grouped(device: torch.device, dtype: torch.dtype) -> Iterator[Timed]:
    """Yield the time of the products of experts, all with as many rows; none if this build of torch lacks them."""
    experts, rows, wide, narrow = EXPERTS[device.type]
    x, weights = (
        _random((experts * rows, wide), device, torch.bfloat16),
        _random((experts, wide, narrow), device, torch.bfloat16),
    )
    if dtype != torch.bfloat16 and device.type == "cpu":
        x, weights = x.to(dtype), weights.to(dtype)
    ends = torch.arange(rows, experts * rows + 1, rows, dtype=torch.int32, device=device)

    def call() -> object:
        return F.grouped_mm(x, weights, offs=ends)

    try:
        seconds = _seconds([call], device)
    except RuntimeError:  # not every build of torch has it for every device
        return
    size = x.element_size()
    moved = size * experts * (wide * (rows + narrow) + rows * narrow)
    yield Timed(
        "grouped", seconds, 2.0 * experts * rows * wide * narrow, moved, size, shape=(rows, narrow, wide)
    )


def _attention(device: torch.device, dtype: torch.dtype) -> Iterator[Timed]:
    """Yield the times of causal attention, forward and backward.

    Half of the scores and values is computed (slipway.models.work.Product).
    """
    for tokens, heads, head in HEADS[device.type]:
        shape, half = (1, heads, tokens, head), tokens * tokens * head * heads  # half of a product's 2 m n k
        sets = [
            [_random(shape, device, dtype).requires_grad_() for _ in range(3)]
            for _ in range(_sets(8 * dtype.itemsize * tokens * head * heads, device))
        ]

        def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        def backward(result: Tensor, seed: Tensor, *inputs: Tensor) -> object:
            return torch.autograd.grad(result, inputs, seed, retain_graph=True)

        results = [forward(*each) for each in sets]
        seeds = [torch.ones_like(result) for result in results]
        with torch.no_grad():
            ahead = _seconds([partial(forward, *each) for each in sets], device)
        back = _seconds(
            [
                partial(backward, result, seed, *each)
                for result, seed, each in zip(results, seeds, sets, strict=True)
            ],
            device,
        )
        yield Timed("attention", ahead, 2.0 * half, shape=(tokens, heads, head))
        yield Timed("attention_backward", back, 5.0 * half, shape=(tokens, heads, head))


def _operators(device: torch.device, dtype: torch.dtype) -> Iterator[Timed]:
    """Yield the times of norm, activation, residual and loss, forward and backward, on large and on tiny tensors."""
    rows, columns = WIDE[device.type]
    for kind, shape in (("operators", (rows, columns)), ("small", (2, 8))):
        x = _random(shape, device, dtype).requires_grad_()  # the large one, with its results, is in no cache
        weight = torch.ones(shape[1], device=device, dtype=dtype)
        seed = torch.ones_like(x)

        def call(x: Tensor = x, weight: Tensor = weight, seed: Tensor = seed) -> object:
            y = F.gelu(F.layer_norm(x, weight.shape, weight)) + x
            y.detach().sub_(y.detach().amax(-1, keepdim=True)).exp_().mul_(
                1 / y.detach().sum(-1, keepdim=True)
            )
            return torch.autograd.grad(y, x, seed)

        # elements that unfused kernels read and write, forward and backward: norm 2 and 3, GELU 2 and 3, sum 3 and 3,
        # softmax 8
        yield Timed(kind, _seconds([call], device), moved_bytes=24.0 * x.nbytes, calls=12)
    x, weight = _random((2, 8), device, dtype), _random((8, 8), device, dtype)
    yield Timed("small_product", _seconds([lambda: products.linear(x, weight)], device))


def _beside(device: torch.device, dtype: torch.dtype) -> Timed:
    """Return the seconds that an exchange costs the products beside it.

    `size` is here the seconds of the exchange alone.
    """
    side = SIDES[device.type][-2]
    x, weight = _random((side, side), device, dtype), _random((side, side), device, dtype)
    message = torch.ones(MESSAGES[device.type][-2] // 4, device=device)
    exchange = _together(lambda: dist.all_reduce(message), device)
    one = _together(lambda: products.linear(x, weight), device)
    times = torch.tensor([exchange, one], dtype=torch.float64, device=device)
    dist.all_reduce(times, op=dist.ReduceOp.MAX)
    exchange, one = times.tolist()
    count = max(1, round(1.5 * exchange / one))  # longer than the exchange, and the same on all ranks

    def work() -> None:
        for _ in range(count):
            products.linear(x, weight)

    def both() -> None:
        waiting = dist.all_reduce(message, async_op=True)
        work()
        assert waiting is not None
        waiting.wait()

    alone = _together(work, device)
    return Timed("beside", max(0.0, _together(both, device) - alone), size=exchange)


def _random(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, device=device).to(dtype)


def _sets(size: int, device: torch.device) -> int:
    """Return how many sets of operands of so many bytes calls take in turn."""
    return max(1, min(MOST_SETS, -(-COLD_BYTES[device.type] // size)))


def _seconds(calls: Sequence[Callable[[], object]], device: torch.device) -> float:
    """Return a call's mean seconds, the calls taken in turn: the median over GROUPS."""
    for call in calls:
        call()
    synchronize(device)
    means, made = [], 0
    for _ in range(GROUPS):
        started, count = time.perf_counter(), 0
        while not count or time.perf_counter() - started < SECONDS / GROUPS:
            calls[made % len(calls)]()
            synchronize(device)
            made, count = made + 1, count + 1
        means.append((time.perf_counter() - started) / count)
    return median(means)


def _together(call: Callable[[], object], device: torch.device, repeat: int = 9) -> float:
    """Return the lower quartile of the seconds of a call that all ranks make as often, from the same moment."""
    times = []
    for _ in range(repeat + 1):
        dist.barrier()
        started = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return _lower_quartile(times[1:])


def _between(call: Callable[[], object], work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a call adds to work when both alternate, but no less than the call alone takes."""

    def both() -> None:
        for _ in range(ROUNDS):
            work()
            call()

    def alone() -> None:
        for _ in range(ROUNDS):
            work()

    return max(_together(call, device), (_together(both, device) - _together(alone, device)) / ROUNDS)


def _lower_quartile(times: list[float]) -> float:
    return sorted(times)[len(times) // 4]
