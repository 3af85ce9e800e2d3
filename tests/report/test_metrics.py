import json

from hypothesis import given
from hypothesis import strategies as st

from slipway.metrics.file import parse
from slipway.report.metrics import by_step


def line(kind, step, **values):
    return json.dumps({"kind": kind, "step": step, **values}).encode() + b"\n"


LINES = [line("validation", 0, loss=9.0)] + [line("train", step, loss=9.0 - step) for step in range(1, 5)]


@given(st.lists(st.tuples(st.integers(1, 6), st.floats(0, 20)), max_size=30))
def test_of_a_step_done_again_the_later_line_counts(written):
    found = by_step(parse(b"".join(line("train", step, loss=loss) for step, loss in written)))
    expected = dict(written)
    assert found.column("loss") == (sorted(expected), [expected[step] for step in sorted(expected)])


def test_other_kinds_and_missing_or_infinite_values_are_left_out():
    found = by_step(
        parse(
            line("checkpoint", 2, path="checkpoints/2")
            + line("train", 1, loss=float("nan"), mfu=0.5)
            + line("train", 2, loss=3.0)
        )
    )
    assert found.column("loss") == ([2], [3.0])
    assert found.column("mfu") == ([1], [0.5])
    assert found.validation == []


def test_lines_that_are_no_records_are_counted_and_left_out():
    found = by_step(parse(LINES[0] + b"\xff\n" + LINES[1] + b"null\n"))
    assert found.foreign == [2, 4]
    assert [record["step"] for record in found.train] == [1]
