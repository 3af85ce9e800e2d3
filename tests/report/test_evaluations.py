"""What the terminal says of evaluations: a line for each, of what counts most."""

import pytest

from slipway.models.evaluation import Result, Score
from slipway.report.evaluations import sentences

WORTH = {"trained": (0.25, 0.5), "random": (0.125, 0.0625), "all": (4.0, 2.0)}


def results(headline: str | None, things: tuple[str, ...], steps: tuple[int, ...]) -> list[Result]:
    return [
        Result(
            name="probe",
            title="Probe",
            step=step,
            scores=[Score(what=what, measure="m_iou", values=[WORTH[what][at]]) for what in things],
            headline=headline,
            how="",
        )
        for at, step in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("headline", "things", "told"),
    [
        ("trained", ("trained", "random"), ("(trained)", "0.25 → 0.5")),
        (None, ("trained", "random", "all"), ("(all)", "4 → 2")),
        (None, ("trained",), ("Probe, steps", "0.25 → 0.5")),
    ],
)
def test_the_headline_is_told_or_the_last_row(
    headline: str | None, things: tuple[str, ...], told: tuple[str, str]
) -> None:
    (line,) = sentences(results(headline, things, (100, 1200)))
    assert all(part in line for part in (*told, "100 to 1,200", "m iou"))


def test_one_step_has_no_arrow() -> None:
    (line,) = sentences(results("trained", ("trained", "random"), (100,)))
    assert "0.25" in line and "→" not in line and "step 100" in line
