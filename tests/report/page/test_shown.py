"""Pictures of validations and results of evaluations on the page."""

import html
import io
import json
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from report.page.test_document import HOSTILE, Elements, of, write
from slipway.metrics import evaluations, pictures
from slipway.models.evaluation import Result, Score
from slipway.report.page.pictures import MOST

STEPS = 12


def run_with_pictures(folder: Path, caption: str = "input, masked, reconstructed") -> Path:
    run = write(folder, steps=STEPS)
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(
            f'{{"kind": "validation", "step": {step}, "loss": 3.0}}\n' for step in range(1, STEPS + 1)
        )
    for step in range(STEPS + 3):  # the last two are of an end that was undone
        pictures.write(run, step, np.full((2, 2, 3), step, np.uint8), caption)
    return run


def embedded(text: str) -> list[int]:
    """The value of all pixels of each picture."""
    found = []
    for encoded in re.findall(r'<img src="data:image/png;base64,([^"]*)"', text):
        with Image.open(io.BytesIO(b64decode(encoded))) as image:
            (value,) = np.unique(np.asarray(image))
            found.append(int(value))
    return found


def test_the_first_the_latest_and_some_between_are_embedded(tmp_path: Path) -> None:
    text = of(run_with_pictures(tmp_path / "run"))
    assert embedded(text) == [0, 4, 8, STEPS]
    assert text.count("input, masked, reconstructed") == 2 * MOST, "as caption, and for those who do not see"
    assert f"{STEPS + 1 - MOST} more are in {tmp_path / 'run' / 'pictures'}" in text


def test_of_several_runs_each_shows_its_latest(tmp_path: Path) -> None:
    text = of(
        run_with_pictures(tmp_path / "one"), run_with_pictures(tmp_path / "two"), write(tmp_path / "none")
    )
    assert embedded(text) == [STEPS, STEPS]


def test_a_page_without_pictures_has_no_such_section(tmp_path: Path) -> None:
    text = of(write(tmp_path / "run"))
    assert "<img" not in text and "Pictures" not in text and "Evaluations" not in text


def test_a_picture_that_is_damaged_hides_no_other(tmp_path: Path) -> None:
    run = run_with_pictures(tmp_path / "run")
    pictures.path(run, 0).write_bytes(b"\x89PNG")
    assert embedded(of(run)) == [4, 8, STEPS]


@pytest.mark.parametrize("hostile", [HOSTILE])
def test_what_captions_and_results_say_stays_text(tmp_path: Path, hostile: str) -> None:
    run = run_with_pictures(tmp_path / "run", caption=hostile)
    scores = [Score(what=hostile, measure=hostile, values=[0.5])]
    evaluations.write(run, Result(name="probe", title=hostile, step=3, scores=scores, how=hostile))
    found = Elements(of(run)).found
    assert [name for name, _ in found].count("script") == 1
    assert [attributes for name, attributes in found if name == "img"] == [{"src", "alt"}] * MOST


def test_results_of_all_steps_are_in_one_table(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    for step, value in ((100, 0.25), (2000, 0.75)):
        scores = [Score(what="trained", measure="mIoU", values=[value])]
        evaluations.write(run, Result(name="probe", title="A probe", step=step, scores=scores, how="So."))
    text = of(run)
    section = text[text.index("<table", text.index("Evaluations")) :]
    assert (
        section.index(">100<") < section.index(">0.25<") < section.index(">2,000<") < section.index(">0.75<")
    )
    assert text.count("A probe") == 1


def test_a_measure_is_drawn_over_the_steps_and_all_figures_are_in_the_table(tmp_path: Path) -> None:
    run = write(tmp_path / "run", steps=STEPS)
    for step in range(1, STEPS + 1):
        scores = [
            Score(what=what, measure=measure, values=[step * factor])
            for what, factor in (("a.txt", 1.0), ("b.txt", 1e9))
            for measure in ("perplexity", "bits_per_byte")
        ]
        evaluations.write(run, Result(name="loss", title="Perplexity", step=step, scores=scores, how="So."))
    evaluations.write(run, Result(name="one", title="Once", step=3, scores=scores[:1], how="So."))
    text = of(run).partition("Evaluations")[2]
    drawn = [json.loads(html.unescape(one)) for one in re.findall(r'data-series="([^"]*)"', text)]
    assert [[name for name, *_ in chart] for chart in drawn] == [["a.txt", "b.txt"]] * 2, (
        "none of a single step"
    )
    steps = list(range(1, STEPS + 1))
    assert [chart[0][2:] for chart in drawn] == [[steps, steps]] * 2
    assert "bits per byte" in text and f"All {2 * STEPS} rows" in text
