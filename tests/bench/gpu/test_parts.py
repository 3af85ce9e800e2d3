"""The table of parts: what is chosen from it, how long each may take, when one is begun."""

from importlib import import_module

import pytest

from refusals import refused
from slipway.bench.gpu.layouts import LAYOUTS, fit
from slipway.bench.gpu.parts import BY_NAME, MINUTES, PARTS, begins, chosen, listed, seconds_for


@pytest.mark.parametrize("part", PARTS, ids=[part.name for part in PARTS])
def test_a_part_names_a_function_that_is_there_and_imports_no_torch_for_it(part) -> None:  # noqa: ANN001
    module, _, function = part.run.partition(":")
    assert callable(getattr(import_module(f"slipway.bench.gpu.{module}"), function))
    assert part.rehearsal > 0 and 0 < part.limit <= 60 * MINUTES


def test_names_are_told_apart() -> None:
    assert len(BY_NAME) == len(PARTS)


def test_parts_are_chosen_in_the_tables_order() -> None:
    assert chosen(None) == PARTS
    assert [part.name for part in chosen("kernels,doctor")] == ["doctor", "kernels"]
    with refused("bench gpu --part", value="kernel", use="kernels"):
        chosen("kernel")


def test_limits_grow_with_the_time_of_the_call_and_do_not_shrink() -> None:
    part = BY_NAME["kernels"]
    usual = seconds_for(part, rehearse=False, minutes=MINUTES)
    assert usual == part.limit
    assert seconds_for(part, rehearse=False, minutes=2 * MINUTES) == 2 * usual
    assert seconds_for(part, rehearse=False, minutes=1) == usual
    assert seconds_for(part, rehearse=True, minutes=MINUTES) == part.rehearsal


def test_a_part_is_not_begun_for_a_moment() -> None:
    assert begins(60, 480) and begins(60, 30)
    assert not begins(60, 5) and not begins(60, -1)


def test_every_part_is_listed_with_its_limit() -> None:
    lines = listed(PARTS, rehearse=False, minutes=MINUTES)
    assert len(lines) == len(PARTS)
    for part, line in zip(PARTS, lines, strict=True):
        assert line.split()[:3] == [part.name, f"{part.limit:.0f}", "s"]
        assert ("devices on" in line) == (part.devices > 1)


def test_layouts_are_those_that_there_are_devices_for() -> None:
    assert fit(1) == []
    assert set(fit(2)) == {"TP2", "PP2", "DP2", "CP2", "EP2"}
    assert set(fit(8)) == set(LAYOUTS)
