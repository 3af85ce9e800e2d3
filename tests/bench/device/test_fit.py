"""The constants that a device's measured times amount to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.bench.device import fit
from slipway.bench.device.timed import Timed
from slipway.models.work import Product
from slipway.plan.step import groups
from slipway.plan.step.hardware import Hardware, Link, Rates
from slipway.plan.step.layer import product_seconds

SIDES = (64, 256, 1024, 4096)
positive = st.floats(0.1, 1.0)


def true_hardware(share: float, of_bytes: float, latency: float, speed: float, ranks: int) -> Hardware:
    rates = Rates(
        product_share=share,
        grouped_share=share / 2,
        product_us=5.0,
        product_bytes=of_bytes,
        attention_share=share / 3,
        attention_backward_share=share / 4,
        memory_share=0.6,
        kernel_us=20.0,
        contention=0.3,
    )
    link = Link(gb_per_s=speed, share=1.0, latency_us=latency, hop_us=7.0)
    return Hardware(
        device="made up",
        precision="fp32",
        peak_tflops=0.5,
        memory_gb_per_s=20.0,
        rates=rates,
        inside=link,
        between=link,
        inside_devices=ranks,
    )


def samples_of(hardware: Hardware, ranks: int) -> list[Timed]:
    """What a machine with these constants would take."""
    found = []
    for m, n, k in ((m, n, k) for m in SIDES for n in SIDES for k in SIDES):
        product = Product(m, n, k, element_bytes=4, output_bytes=4)
        seconds = product_seconds(product, hardware)
        found.append(Timed("linear", seconds, product.flop, product.moved_bytes, 4, shape=(m, n, k)))
    found.append(Timed("copy", 1.0, moved_bytes=20e9))
    moved = 1e9
    wide = moved / (20e9 * hardware.rates.memory_share) + 6 * 20e-6
    found += [Timed("operators", wide, moved_bytes=moved, calls=6), Timed("small", 6 * 20e-6, calls=6)]
    found.append(Timed("small_product", 1e-6))
    for kind in fit.EXCHANGES:
        for size in (2**12, 2**18, 2**24):
            seconds = groups.seconds(kind, size, groups.Ring(ranks, ranks), hardware)  # type: ignore[arg-type]
            found.append(Timed(kind, seconds, size=size))
    found.append(Timed("beside", 0.003, size=0.01))
    return found


@settings(max_examples=40, deadline=None)
@given(positive, st.floats(0.0, 0.5), st.floats(0.0, 100.0), st.floats(0.1, 10.0), st.integers(2, 8))
def test_times_made_from_constants_are_given_back(
    share: float, of_bytes: float, latency: float, speed: float, ranks: int
) -> None:
    true = true_hardware(share, of_bytes, latency, speed, ranks)
    samples = samples_of(true, ranks)
    found = fit.hardware([samples] * ranks, device="made up", precision="fp32", on_cpu=True)
    for one in samples:
        if (seconds := fit.predicted(one, found, ranks)) is not None:
            assert seconds == pytest.approx(one.seconds, rel=0.02), one
    assert found.rates.memory_share == pytest.approx(0.6, rel=0.01)
    assert found.rates.kernel_us == pytest.approx(20.0)
    assert found.rates.contention == pytest.approx(0.3)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(0.1, 10)), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_constant_is_below_zero_and_none_is_better_without_one(
    rows: list[tuple[float, float, float]],
) -> None:
    seconds = [1.0 + row[0] for row in rows]
    found = fit.nonnegative_least_squares(rows, seconds)
    assert all(value >= 0 for value in found)

    def error(constants: list[float]) -> float:
        return sum(
            (sum(a * b for a, b in zip(row, constants, strict=True)) / time - 1) ** 2
            for row, time in zip(rows, seconds, strict=True)
        )

    for place in range(3):
        alone = fit.nonnegative_least_squares([(row[place],) for row in rows], seconds)[0]
        assert error(found) <= error([alone if each == place else 0.0 for each in range(3)]) + 1e-6


def test_an_exchange_lasts_as_on_its_slowest_rank_and_work_as_on_the_median_one() -> None:
    ranks = [[Timed("linear", t, 1.0), Timed("all_reduce", t, size=8.0)] for t in (1.0, 2.0, 9.0)]
    work, exchange = fit.middle(ranks)
    assert (work.seconds, exchange.seconds) == (2.0, 9.0)


def test_one_rank_has_no_links_of_its_own() -> None:
    samples = [one for one in samples_of(true_hardware(0.5, 0.1, 10, 1, 2), 2) if not one.size]
    assert fit.link(samples, 1) is None
    assert fit.contention(samples) == 0.0
    assert fit.hardware([samples], device="made up", precision="fp32", on_cpu=True).inside_devices == 1
