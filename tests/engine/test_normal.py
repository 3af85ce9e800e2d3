"""Numbers from words: exact places, the functions inside against float64, and the same bits wherever they stand."""

import math
from fractions import Fraction

import numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slipway.engine.normal import minus_two_log, normal, uniform

WORD = st.integers(0, 2**32 - 1)


def test_uniform_numbers_are_multiples_of_a_24th_power() -> None:
    word = torch.tensor([0, 255, 256, 2**31, 2**32 - 1])
    assert uniform(word).tolist() == [0.0, 0.0, 2.0**-24, 0.5, 1 - 2.0**-24]


def test_the_logarithm_is_that_of_float64_to_the_last_places() -> None:
    count = torch.cat([torch.arange(1, 5000), torch.arange(2**24 - 5000, 2**24 + 1), 2 ** torch.arange(25)])
    count = torch.cat(
        [count, torch.randint(1, 2**24, (100_000,), generator=torch.Generator().manual_seed(1))]
    )
    exact = -2 * torch.log(count.double() / 2**24)
    found = minus_two_log(count).double()
    assert (found >= 0).all()
    assert found[count == 2**24].eq(0).all()
    assert ((found - exact).abs() <= 4e-7 * exact).all()


def test_a_pair_lies_on_its_circle() -> None:
    """In float64, by the same angle in turns of the plane."""
    generator = torch.Generator().manual_seed(2)
    one, other = torch.randint(0, 2**32, (2, 100_000), generator=generator)
    radius = torch.sqrt(-2 * torch.log(((one >> 8) + 1).double() / 2**24))
    angle = ((other >> 8).double() / 2**24 - 0.5) * (math.pi / 2)
    x, y = torch.cos(angle), torch.sin(angle)
    swap, sign = (other & 2).bool(), 1 - 2 * (other & 1)
    expected = radius * sign * torch.stack([torch.where(swap, y, x), torch.where(swap, x, y)])
    found = normal(torch.stack([one, other]))
    assert found.dtype == torch.float32
    assert (found.double() - expected).abs().max() < 2e-6


def in_numpy(one: int, other: int) -> tuple[Fraction, Fraction]:
    """The same steps, each rounded to fp32 once by another library: what any device that keeps to IEEE 754 finds."""
    f = numpy.float32

    def poly(x: numpy.float32, coefficients: list[float]) -> numpy.float32:
        result = f(0)
        for c in coefficients:
            result = f(f(result * x) + f(c))
        return result

    mantissa, exponent = math.frexp((one >> 8) + 1)
    if f(mantissa) < f(math.sqrt(0.5)):
        mantissa, exponent = 2 * mantissa, exponent - 1
    s = f(f(f(mantissa) - f(1)) / f(f(mantissa) + f(1)))
    log = f(s * poly(f(s * s), [2 / 9, 2 / 7, 2 / 5, 2 / 3, 2]))
    radius = numpy.sqrt(f(f(f(24 - exponent) * f(2 * math.log(2))) - f(log * f(2))))
    angle = f(f((other >> 8) - 2**23) * f(math.pi / 4 / 2**23))
    z = f(angle * angle)
    sine = poly(z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1])
    sine = f(angle * f(f(sine * z) + f(1)))
    cosine = poly(z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2])
    cosine = f(f(f(f(cosine * z) * z) - f(z * f(0.5))) + f(1))
    radius = -radius if other & 1 else radius
    pair = (sine, cosine) if other & 2 else (cosine, sine)
    return Fraction(float(f(radius * pair[0]))), Fraction(float(f(radius * pair[1])))


@given(WORD, WORD)
def test_another_library_finds_the_same_bits(one: int, other: int) -> None:
    found = normal(torch.tensor([one, other]))
    assert tuple(Fraction(number) for number in found.tolist()) == in_numpy(one, other)


@given(st.integers(0, 70), st.integers(1, 70))
def test_a_number_does_not_depend_on_its_place(start: int, length: int) -> None:
    """Vector instructions and what is left at the end of a loop round alike."""
    words: Tensor = torch.arange(2 * 140).view(2, 140) * 0x9E3779B1 & 0xFFFFFFFF
    span = slice(start, start + length)
    assert torch.equal(normal(words[:, span]), normal(words)[:, span])
