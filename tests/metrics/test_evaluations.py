"""Results of evaluations on disk."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from slipway.metrics import evaluations
from slipway.models.evaluation import Result, Score


def result(step: int, *values: float) -> Result:
    scores = [
        Score(what="trained", measure="mIoU", values=list(values)),
        Score(what="trained", measure="accuracy", values=[0.5]),
        Score(what="random weights", measure="mIoU", values=[0.25]),
    ]
    return Result(
        name="probe", title="A probe", step=step, scores=scores, how="So.", facts={"classes": ["a"]}
    )


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    assert evaluations.found(tmp_path) == ([], [])
    for step, value in ((200, 0.5), (30, 0.25), (200, 0.75)):
        path = evaluations.write(tmp_path, result(step, value, 1.0))
        assert json.loads(path.read_text())["step"] == step
    assert evaluations.found(tmp_path) == ([result(30, 0.25, 1.0), result(200, 0.75, 1.0)], [])


def test_a_file_that_is_no_result_is_named_and_hides_no_other(tmp_path: Path) -> None:
    path = evaluations.write(tmp_path, result(1, 0.5))
    for name, text in (("torn.json", '{"name": "probe"'), ("other.json", "[]")):
        (path.parent / name).write_text(text)
    results, problems = evaluations.found(tmp_path)
    assert results == [result(1, 0.5)]
    assert [Path(line.partition(": ")[0]).name for line in problems] == ["other.json", "torn.json"]


def test_a_table_has_a_line_for_each_thing_and_a_column_for_each_measure() -> None:
    assert result(1, 0.25, 0.5).rows() == [
        ["", "mIoU", "accuracy"],
        ["trained", "0.3750 (0.2500 to 0.5000)", "0.5"],
        ["random weights", "0.25", ""],
    ]


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf")]])
def test_a_score_is_a_number(values: list[float]) -> None:
    with pytest.raises(ValidationError):
        Score(what="trained", measure="mIoU", values=values)
