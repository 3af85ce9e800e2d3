"""Normal and uniform numbers in fp32 from random words, bitwise the same on every device.

Only operations that IEEE 754 defines to the last bit are used (+, -, x, /, conversions, the square root as below), each
in a kernel of its own, so that no compiler fuses two of them. torch's log, sine and cosine differ between devices, and
on a CPU even with a number's place in the tensor.
"""

import math

import torch
from torch import Tensor

BITS = 24  # bits used of a word: as many as fp32 holds exactly
MANTISSA = 23  # bits of fp32's mantissa
SQRT_HALF = 0x3F3504F3  # the bits of sqrt(1/2) in fp32
# highest power first. Cephes, single precision (S. Moshier): sinf and cosf up to a quarter of pi
SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
# 2 atanh(s) / s = 2 + 2/3 s^2 + ...; for s < 0.18 the omitted terms are below 1e-8
LOGARITHM = (2 / 9, 2 / 7, 2 / 5, 2 / 3, 2)


def uniform(words: Tensor) -> Tensor:
    """Return numbers 0 <= x < 1, multiples of 2^-24, from words below 2^32; of the same shape."""
    return (words >> (32 - BITS)).float().mul_(2.0**-BITS)


def normal(words: Tensor) -> Tensor:
    """Return independent standard normal numbers from words below 2^32, int64 [2 n, ...]; of the same shape.

    G. Box, M. Muller: A Note on the Generation of Random Normal Deviates (1958). Words of the first half give a radius
    sqrt(-2 ln u), those of the second half an angle: uniform within an eighth of a turn around 0, and mirrored by two
    further bits at the diagonal and at 0. No number is above 5.8, since u is at least 2^-24.
    """
    one, other = words.chunk(2)
    radius = minus_two_log((one >> (32 - BITS)).add_(1))
    # torch's square root in fp32 is sometimes off by a bit, this one is not
    radius = radius.double().sqrt_().float()
    radius.view(torch.int32).bitwise_xor_(other.to(torch.int32) << 31)  # its sign
    angle = (other >> (32 - BITS)).float().sub_(2.0 ** (BITS - 1)).mul_(math.pi / 4 * 2.0 ** (1 - BITS))
    square = angle * angle
    sine = _polynomial(square, SINE).mul_(square).add_(1.0).mul_(angle)
    cosine = _polynomial(square, COSINE).mul_(square).mul_(square).sub_(square.mul_(0.5)).add_(1.0)
    swap = (other & 2).bool()
    x, y = torch.where(swap, sine, cosine), torch.where(swap, cosine, sine)
    return torch.cat([x.mul_(radius), y.mul_(radius)])


def minus_two_log(count: Tensor) -> Tensor:
    """Return -2 ln(count / 2^24) in fp32 for integers from 1 to 2^24; of the same shape.

    count = m 2^e with sqrt(1/2) <= m < sqrt(2), read from the bits of the fp32 number, and ln m = 2 atanh((m - 1) / (m
    + 1)).
    """
    mantissa = count.float()
    bits = mantissa.view(torch.int32)
    exponent = (bits - SQRT_HALF).bitwise_right_shift_(MANTISSA)
    bits.sub_(exponent << MANTISSA)
    s = (mantissa - 1.0).div_(mantissa.add_(1.0))
    log = _polynomial(s * s, LOGARITHM).mul_(s)
    return (BITS - exponent).float().mul_(2 * math.log(2)).sub_(log.mul_(2.0))


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Return the polynomial's value by Horner's rule; the coefficient of the highest power comes first."""
    result = (x * coefficients[0]).add_(coefficients[1])
    for coefficient in coefficients[2:]:
        result.mul_(x).add_(coefficient)
    return result
