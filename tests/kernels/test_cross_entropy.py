"""Cross entropy fused with the output layer: against float64, on one rank and on several, and its memory."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from megatron.core.tensor_parallel.mappings import copy_to_tensor_model_parallel_region
from torch import Tensor

from gloo_ranks import run_cases
from slipway.kernels.cross_entropy import hide_padding, linear_cross_entropy

BATCH, LENGTH, HIDDEN = 2, 12, 16
# largest error over the largest entry of the float64 result
ERRORS = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
LOSS_ERRORS = {torch.float32: 1e-6, torch.bfloat16: 5e-3}  # relative; bf16: the logits are rounded to 8 bits


def inputs(vocabulary: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """hidden [s, b, h], weight [v, h] in dtype, labels [b, s], mask [b, s] with fractions and zeros."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(LENGTH, BATCH, HIDDEN, generator=generator).to(dtype)
    weight = torch.randn(vocabulary, HIDDEN, generator=generator).to(dtype)
    labels = torch.randint(vocabulary, (BATCH, LENGTH), generator=generator)
    mask = torch.rand(BATCH, LENGTH, generator=generator).where(labels % 3 != 0, 0.0)
    return hidden, weight, labels, mask


def reference(hidden: Tensor, weight: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The masked sum and its gradients of hidden and weight, in float64."""
    hidden, weight = (x.detach().double().requires_grad_() for x in (hidden, weight))
    logits = hidden.transpose(0, 1) @ weight.t()
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    total = (losses * mask.double().flatten()).sum()
    grad_hidden, grad_weight = torch.autograd.grad(total, (hidden, weight))
    return total.detach(), grad_hidden, grad_weight


def error(got: Tensor, expected: Tensor) -> float:
    return ((got.double() - expected).abs().max() / expected.abs().max()).item()


# Cases: what each rank does. They run in forked ranks, all of one size in one start.


def matches_float64(rank: int, size: int, dtype: torch.dtype, sequence_parallel: bool, chunk: int) -> None:
    rows = 11  # odd
    hidden, weight, labels, mask = inputs(rows * size, dtype)
    total, grad_hidden, grad_weight = reference(hidden, weight, labels, mask)
    own_hidden, expected_hidden = (
        (hidden.chunk(size)[rank], grad_hidden.chunk(size)[rank])
        if sequence_parallel
        else (hidden, grad_hidden)
    )
    own_hidden = own_hidden.clone().requires_grad_()
    own_weight = weight.chunk(size)[rank].clone().requires_grad_()
    got = linear_cross_entropy(
        own_hidden,
        own_weight,
        labels,
        mask,
        group=group(),
        sequence_parallel=sequence_parallel,
        chunk_tokens=chunk,
    )
    (got * 4).backward()
    assert got.dtype == torch.float32
    assert own_hidden.grad is not None and own_weight.grad is not None
    assert error(got, total) < LOSS_ERRORS[dtype]
    assert error(own_hidden.grad, 4 * expected_hidden) < ERRORS[dtype]
    assert error(own_weight.grad, 4 * grad_weight.chunk(size)[rank]) < ERRORS[dtype]


def gradients_add_up(rank: int, size: int) -> None:
    """Two microbatches, whose gradients a hook adds to a main gradient, as data parallelism's does."""
    first, second = (inputs(8 * size, torch.float32, seed) for seed in (0, 1))
    weight = first[1].chunk(size)[rank].clone().requires_grad_()
    main_grad = torch.zeros_like(weight)

    def add(parameter: Tensor) -> None:
        assert parameter.grad is not None
        main_grad.add_(parameter.grad)
        parameter.grad = None

    weight.register_post_accumulate_grad_hook(add)
    expected = torch.zeros(8 * size, HIDDEN, dtype=torch.float64)
    for hidden, _, labels, mask in (first, second):
        expected += reference(hidden, first[1], labels, mask)[2]
        linear_cross_entropy(
            hidden, weight, labels, mask, group=group(), sequence_parallel=False, chunk_tokens=5
        ).backward()
    assert error(main_grad, expected.chunk(size)[rank]) < ERRORS[torch.float32]


def without_gradients(rank: int, size: int) -> None:
    hidden, weight, labels, mask = inputs(8 * size, torch.float32)
    total, *_ = reference(hidden, weight, labels, mask)
    part = weight.chunk(size)[rank].clone().requires_grad_()
    with torch.no_grad():
        got = linear_cross_entropy(hidden, part, labels, mask, group=group(), sequence_parallel=False)
    assert not got.requires_grad
    assert error(got, total) < LOSS_ERRORS[torch.float32]


def extreme_logits(rank: int, size: int) -> None:
    """Logits of thousands: no overflow, and a rank whose part of the vocabulary has no weight at all."""
    hidden, weight, labels, mask = inputs(8 * size, torch.float32)
    weight = weight * 1000
    weight[8 * (size - 1) :] -= 500
    total, _, grad_weight = reference(hidden, weight, labels, mask)
    part = weight.chunk(size)[rank].clone().requires_grad_()
    got = linear_cross_entropy(hidden, part, labels, mask, group=group(), sequence_parallel=False)
    got.backward()
    assert part.grad is not None
    assert error(got, total) < LOSS_ERRORS[torch.float32]
    part_of = slice(rank * 8, rank * 8 + 8)
    assert (part.grad - grad_weight[part_of]).abs().max() < 1e-3 * grad_weight.abs().max()


def ignores_padding(rank: int, size: int, whole_logits: bool, dtype: torch.dtype, entries: str) -> None:
    """Rows from `entries` on, of 8 on each rank, are in no softmax: loss and gradients are those of a table without.

    In the padding are numbers that would be everything if they were seen.
    """
    own = 8
    number = {"a row": 8 * size - 1, "most ranks": 5}[entries]
    hidden, real, labels, mask = inputs(number, dtype)
    total, grad_hidden, grad_weight = reference(hidden, real, labels, mask)
    weight = torch.cat([real, torch.full((own * size - number, HIDDEN), 30.0, dtype=dtype)])
    hidden, part = hidden.requires_grad_(), weight.chunk(size)[rank].clone().requires_grad_()
    if whole_logits:
        parallel_state._TENSOR_MODEL_PARALLEL_GROUP = group()
        logits = copy_to_tensor_model_parallel_region(hidden, group()) @ part.t()
        hide_padding(logits, number, rank * own)
        losses = vocab_parallel_cross_entropy(logits, labels.t().contiguous())
        got = (losses.t() * mask).sum()
    else:
        got = linear_cross_entropy(
            hidden,
            part,
            labels,
            mask,
            group=group(),
            sequence_parallel=False,
            vocab_size=number,
            chunk_tokens=7,
        )
    got.backward()
    assert hidden.grad is not None and part.grad is not None
    assert error(got.detach(), total) < LOSS_ERRORS[dtype]
    assert error(hidden.grad, grad_hidden) < ERRORS[dtype]
    padded = torch.cat([grad_weight, grad_weight.new_zeros(own * size - number, HIDDEN)])
    mine = padded.chunk(size)[rank]
    assert (part.grad - mine).abs().max() < ERRORS[dtype] * padded.abs().max()
    assert part.grad[max(0, number - own * rank) :].abs().sum() == 0, "exactly nothing for padding"


CASES: dict[str, tuple[Callable, tuple]] = {
    f"{str(dtype)[6:]}, {'sequence parallel, ' if parallel else ''}chunks of {chunk}": (
        matches_float64,
        (dtype, parallel, chunk),
    )
    for dtype in ERRORS
    for parallel in (False, True)
    for chunk in (1, 7, LENGTH * BATCH, 1000)
}
CASES |= {f.__name__: (f, ()) for f in (gradients_add_up, without_gradients, extreme_logits)}


CASES |= {
    f"{'whole logits' if whole else 'fused'}, {str(dtype)[6:]}, padding on {entries}": (
        ignores_padding,
        (whole, dtype, entries),
    )
    for whole in (True, False)
    for dtype in ERRORS
    for entries in ("a row", "most ranks")
}


def group() -> Any:
    return dist.group.WORLD


@pytest.fixture(scope="module", params=[1, 2, 4], ids=["tp1", "tp2", "tp4"])
def failures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong on any rank, by case."""
    return run_cases(CASES, request.param, tmp_path_factory.mktemp("store") / "file")


@pytest.mark.parametrize("case", CASES)
def test_on_ranks(failures: dict[str, str], case: str) -> None:
    assert case not in failures, failures[case]


STEP = """
import sys
from slipway.bench.compare import _slipway_step
from slipway.config.compose import compose
_slipway_step(compose(sys.argv[1:]), 2)()
# not ru_maxrss, which begins with the parent's
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_memory(folder: Path, cross_entropy: str) -> int:
    """Of a process that trains the demo model with a vocabulary of 32k for a step: KiB, all it ever held."""
    overrides = [
        "model=demo",
        "model.num_layers=1",
        "model.vocab_size=32768",
        "model.max_position_embeddings=1024",
        "data.sequence_length=1024",
        "training.global_batch_size=4",
        "training.micro_batch_size=4",
        "cluster=local",
        "validation.steps=0",
        f"run.dir={folder / cross_entropy}",
        f"kernels.cross_entropy={cross_entropy}",
    ]
    done = subprocess.run([sys.executable, "-c", STEP, *overrides], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow  # two processes with logits of half a gigabyte
def test_peak_memory_is_a_quarter_below_that_of_whole_logits(tmp_path: Path) -> None:
    assert peak_memory(tmp_path, "torch") < 0.75 * peak_memory(tmp_path, "unfused")
