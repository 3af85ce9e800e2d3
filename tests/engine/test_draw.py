"""Initial values: their distribution, and every part being the part of the whole, bit for bit."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.engine import draw as drawing
from slipway.engine.draw import draw, key_of
from slipway.models.initial import Constant, Initial, Normal, Uniform

KEY = key_of("1234:decoder.layers.mlp.linear_fc1.weight:(3,)")
MANY = (1000, 1000)
DISTRIBUTIONS = [Normal(0.02), Uniform(-0.5, 0.25)]


def whole(initial: Initial, shape: tuple[int, ...], key: Any = KEY, **options: Any) -> torch.Tensor:
    values = torch.empty(shape, **options)
    draw(values, initial, key, shape, (0,) * len(shape))
    return values


def cumulative(initial: Initial, x: torch.Tensor) -> torch.Tensor:
    if isinstance(initial, Normal):
        return 0.5 * (1 + torch.erf(x / (initial.std * math.sqrt(2))))
    assert isinstance(initial, Uniform)
    return ((x - initial.low) / (initial.high - initial.low)).clamp(0, 1)


@pytest.mark.parametrize("initial", DISTRIBUTIONS)
def test_numbers_are_distributed_as_asked_for(initial: Initial) -> None:
    """Kolmogorov-Smirnov: the empirical distribution is nowhere further away than 1.95 / sqrt(n); p = 0.001."""
    values = whole(initial, MANY).double().flatten().sort().values
    n = len(values)
    exact = cumulative(initial, values)
    above = torch.arange(1, n + 1) / n - exact
    below = exact - torch.arange(n) / n
    assert torch.stack([above, below]).max() < 1.95 / math.sqrt(n)


def test_moments_of_normal_numbers() -> None:
    """Within five standard errors."""
    z, n = whole(Normal(1.0), MANY).double(), math.prod(MANY)
    for power, exact, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(z.pow(power).mean() - exact) < 5 * math.sqrt(variance / n)
    assert 4.5 < z.abs().max() < 5.8


@pytest.mark.parametrize("initial", DISTRIBUTIONS)
def test_numbers_are_independent_of_their_neighbours_and_of_other_tensors(initial: Initial) -> None:
    """Correlations of values and of squares, along rows, along columns, between keys: within five standard errors."""
    tensors = [whole(initial, MANY, key).double() for key in (KEY, key_of("another"))]
    tensors = [(x - x.mean()) / x.std() for x in tensors]
    for x, y in (tensors, [(x.square() - 1) / (x.square() - 1).std() for x in tensors]):
        pairs = [
            (x, y),
            *((x[:, lag:], x[:, :-lag]) for lag in (1, 2, 3, 4)),
            *((x[lag:], x[:-lag]) for lag in (1, 2)),
        ]
        for one, other in pairs:
            assert abs((one * other).mean()) < 5 / math.sqrt(one.numel())


SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@given(SHAPES, st.data(), st.sampled_from([*DISTRIBUTIONS, Constant(2.0)]), st.sampled_from([1, 2, 7, 100]))
def test_every_part_is_that_of_the_whole(shape: list[int], data: Any, initial: Initial, at_once: int) -> None:
    """Whatever is cut on whichever axes, and however many counters are taken at once."""
    everything = whole(initial, tuple(shape))
    spans = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    spans = [(low, high) if low < high else (0, n) for (low, high), n in zip(spans, shape, strict=True)]
    part = torch.full([high - low for low, high in spans], torch.nan)
    before, drawing.ON_CPU = drawing.ON_CPU, at_once
    try:
        draw(part, initial, KEY, shape, [low for low, _ in spans])
    finally:
        drawing.ON_CPU = before
    assert torch.equal(part, everything[tuple(slice(low, high) for low, high in spans)])


def test_parts_in_the_middle_of_large_tensors() -> None:
    """Beyond 2^32 elements: only what is asked for is drawn."""
    shape, offset = (2**21, 2**13), (2**21 - 3, 2**13 - 5)
    part, more = torch.empty(3, 5), torch.empty(2, 4)
    draw(part, Normal(1.0), KEY, shape, offset)
    draw(more, Normal(1.0), KEY, shape, (offset[0] + 1, offset[1] + 1))
    assert torch.equal(more, part[1:, 1:])
    assert len(part.unique()) == part.numel()


def test_a_part_may_be_a_view_and_has_its_own_precision() -> None:
    exact = whole(Normal(0.02), (6, 10))
    held = torch.zeros(12, 20, dtype=torch.bfloat16)
    draw(held[::2, ::2], Normal(0.02), KEY, (6, 10), (0, 0))
    assert torch.equal(held[::2, ::2], exact.bfloat16())
    assert not held[1::2].any()
    assert not held[:, 1::2].any()


def test_single_numbers_and_constants() -> None:
    assert whole(Normal(1.0), ()).item() == whole(Normal(1.0), (1,)).item()
    assert whole(Constant(0.5), (2, 2)).tolist() == [[0.5, 0.5]] * 2


def test_other_seeds_names_and_layers_have_other_numbers() -> None:
    keys = [key_of(f"{seed}:{name}:({layer},)") for seed in (1, 2) for name in "ab" for layer in (0, 1)]
    assert len({whole(Normal(1.0), (1,), key).item() for key in keys}) == len(keys)
