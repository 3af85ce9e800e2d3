"""Which samples are passed over after a rollback."""

from slipway.data.ledger import DataLedger
from slipway.train.recovery import LeftOut

START = DataLedger.begin(0, {"a": 1.0, "b": 1.0}, {})


def test_a_stretch_is_passed_over_and_counts_as_consumed() -> None:
    left_out = LeftOut([(8, 16)])
    assert left_out.pass_over(START) == START
    assert left_out.pass_over(START.advance(8)) == START.advance(16)


def test_stretches_that_touch_or_overlap_are_one() -> None:
    """Going back twice with several batches each: the second stretch begins within the first."""
    touching, overlapping = LeftOut([(8, 16), (16, 24)]), LeftOut([(8, 24), (16, 32)])
    assert touching.pass_over(START.advance(8)).total == 24
    assert overlapping.pass_over(START.advance(8)).total == 32
