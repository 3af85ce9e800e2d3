import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway import words

SECONDS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {unit: 1024.0**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))}
PREFIXES = {
    prefix: 1000.0**power for power, prefix in enumerate(("", "k", "M", "G", "T", "P", "E", "Z", "Y"))
}


def parts(text: str) -> list[tuple[float, str]]:
    """`3 d 04 h` as (3, d), (4, h)."""
    found = re.findall(r"(-?[\d,.]+)(?: ([A-Za-zµ]+))?", text)
    assert " ".join(f"{number} {unit}".strip() for number, unit in found) == text
    return [(float(number.replace(",", "")), unit) for number, unit in found]


def value(text: str, units: dict[str, float]) -> float:
    return sum(number * units[unit] for number, unit in parts(text))


@given(st.floats(1e-5, 1e9))
def test_a_duration_is_near_and_no_unit_overflows(seconds: float) -> None:
    text = words.duration(seconds)
    assert value(text, SECONDS) == pytest.approx(seconds, rel=0.009)
    most = {"µs": 1000, "ms": 1000, "s": 60, "min": 60, "h": 24, "d": 1e6}
    found = parts(text)
    assert all(number < most[unit] for number, unit in found) and len(found) <= 2
    assert "e" not in text
    sizes = [SECONDS[unit] for _, unit in found]
    assert sizes == sorted(sizes, reverse=True)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_longer_time_is_not_shown_as_a_shorter_one(one: float, other: float) -> None:
    short, long = (value(words.duration(seconds), SECONDS) for seconds in sorted((one, other)))
    assert short <= long * (1 + 1e-12)


@given(st.integers(0, 2**63))
def test_a_size_is_near_and_no_unit_overflows(count: int) -> None:
    ((number, unit),) = parts(words.size(count))
    assert number * BYTES[unit] == pytest.approx(count, rel=0.0006)
    assert number < 1024 and (number >= 1 or unit == "B")


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_more_bytes_are_not_shown_as_fewer(one: int, other: int) -> None:
    few, many = (value(words.size(count), BYTES) for count in sorted((one, other)))
    assert few <= many


@given(st.floats(0.1, 1e26))
def test_a_quantity_is_near_and_never_1000_of_a_smaller_unit(number: float) -> None:
    found = re.fullmatch(r"([\d.]+) ([kMGTPEZY]?)FLOP", words.quantity(number, "FLOP"))
    assert found
    assert float(found[1]) * PREFIXES[found[2]] == pytest.approx(number, rel=0.006)
    assert float(found[1]) < 1000
    assert words.quantity(-number) == f"-{words.quantity(number)}"


@given(st.floats(0.001, 1e12))
def test_a_figure_has_three_digits_or_all(number: float) -> None:
    text = words.figure(number)
    assert "e" not in text and float(text.replace(",", "")) == pytest.approx(number, rel=0.006)


def test_how_numbers_are_written() -> None:
    shown = [
        words.duration(seconds) for seconds in (-5, 0, 0.0123, 0.2, 12.34, 59.96, 423, 1090, 7500, 273600)
    ]
    assert shown == [
        *("0 s", "0 s", "12.3 ms", "200 ms", "12.3 s", "1 min 00 s", "7 min 03 s", "18 min 10 s"),
        *("2 h 05 min", "3 d 04 h"),
    ]
    assert [words.size(count) for count in (0, 1023, 1024, 2**30 - 1, 42_100_000_000)] == [
        *("0 B", "1,023 B", "1 KiB", "1 GiB", "39.21 GiB")
    ]
    assert [words.quantity(number) for number in (0, 7, 999.6, 999_600, 8.03e9)] == [
        "0",
        "7",
        "1 k",
        "1 M",
        "8.03 G",
    ]
    assert [words.figure(number) for number in (0, 0.01234, 12.34, 99.96, 1234567)] == [
        *("0", "0.0123", "12.3", "100", "1,234,567")
    ]


@given(st.dictionaries(st.sampled_from(["TP", "CP", "EP", "PP", "VP", "DP"]), st.integers(1, 64)))
def test_a_layout_names_what_is_larger_than_one(sizes: dict[str, int]) -> None:
    text = words.layout(sizes)
    found = dict(re.findall(r"([A-Z]+)(\d+)", text))
    assert {name: int(size) for name, size in found.items()} == {n: s for n, s in sizes.items() if s > 1}
    assert text == (" × ".join(f"{name}{size}" for name, size in found.items()) or "one rank")


@given(st.integers(0, 10**9), st.sampled_from(["replica", "microbatch", "patch"]))
def test_one_thing_is_singular_and_all_other_numbers_are_plural(number: int, noun: str) -> None:
    figure, word = words.counted(number, noun).split()
    assert int(figure.replace(",", "")) == number
    assert word == (noun if number == 1 else words.plural(noun))
