"""The load of every part over the steps: a picture on the page, a line in the terminal."""

import io
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from report.page.test_document import HOSTILE, Elements, of, write
from slipway.report import load
from slipway.report.page.load import COLUMNS, EVEN, LITTLE, MUCH, NOTHING, ROWS, colour
from slipway.report.run import read

WHOLE = {
    "parts": "experts",
    "places": ["layer 1", "layer 2"],
    "load": [[1.0, 0.0, 1.0, 2.0], [4.0, 0.25, 1.0, 1.0]],
}


def run_with(folder: Path, *lines: dict[str, Any]) -> Path:
    run = write(folder, steps=4)
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({"step": 4, **line}) + "\n" for line in lines)
    return run


def line(step: int = 4, **changes: Any) -> dict[str, Any]:
    return {"kind": "load", "step": step, **WHOLE, **changes}


def picture(text: str) -> np.ndarray:
    (encoded,) = re.findall(r'<img src="data:image/png;base64,([^"]*)"', text)
    with Image.open(io.BytesIO(b64decode(encoded))) as image:
        return np.asarray(image)


def test_each_part_has_a_row_and_each_line_a_column(tmp_path: Path) -> None:
    text = of(run_with(tmp_path / "run", line(2, load=[[1.0] * 4] * 2), line(4)))
    pixels = picture(text)
    high = 6  # rows of a part; a row is between the two layers
    assert pixels.shape == (2 * 4 * high + 1, 2, 3)
    found = [[tuple(map(int, pixels[at * high + (at > 3) + 2, x])) for at in range(8)] for x in (0, 1)]
    assert found[0] == [EVEN] * 8
    assert found[1] == [colour(value) for row in WHOLE["load"] for value in row]
    assert found[1][1] == NOTHING and found[1][4] == MUCH and found[1][5] == LITTLE
    for label in ("layer 1", "layer 2", "Load of the experts", ">4<"):
        assert label in text


def test_a_large_mixture_stays_a_small_picture(tmp_path: Path) -> None:
    """DeepSeek-V3's: 58 mixture layers of 256 experts; one of them is starved, which is still seen."""
    rows = [[1.0] * 256 for _ in range(58)]
    rows[30][77] = 0.0
    places = [f"layer {number}" for number in range(3, 61)]
    lines = [line(step, places=places, load=rows) for step in range(1, 301)]
    text = of(run_with(tmp_path / "run", *lines))
    pixels = picture(text)
    assert pixels.shape[0] <= ROWS + 58 and pixels.shape[1] == COLUMNS
    dark = (pixels == NOTHING).all(2)
    assert dark.any(0).all() and dark.any(1).sum() < 3
    assert len(text) < 400_000
    assert text.count("layer ") < 60, "not each layer is named"


def test_lines_of_another_model_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    bad = [
        {"places": ["layer 1"]},
        {"load": [[1.0], [1.0, 2.0]]},
        {"load": [[1.0, None], [1.0, 2.0]]},
        {"load": [[True], [False]]},
        {"load": "much"},
        {"parts": 3},
        {"places": [], "load": []},
        {"load": [[], []]},
    ]
    lines = [line(step, **changes) for step, changes in enumerate(bad, start=1)]
    run = run_with(tmp_path / "run", *lines)
    assert "Load of" not in of(run) and load.sentences(read(run, 0.0).metrics) == []
    other = line(9, places=["layer 1"], load=[[1.0, 1.0]])
    text = of(run_with(tmp_path / "two", line(8), other))
    assert picture(text).shape[1] == 1


def test_what_the_guard_said_is_told_and_no_name_becomes_markup(tmp_path: Path) -> None:
    told = {"kind": "event", "event": "collapse", "step": 3, "reason": f"layer 1 {HOSTILE}"}
    run = run_with(tmp_path / "run", line(parts=HOSTILE, places=[HOSTILE, "layer 2"]), told)
    text = of(run)
    assert "Step 3: layer 1" in text and HOSTILE not in text
    assert not [attributes for name, attributes in Elements(text).found if "onerror" in attributes]
    newest, said = load.sentences(read(run, 0.0).metrics)
    assert said == f"step 3: layer 1 {HOSTILE}"
    assert "4.00 times" in newest and "1 of 8" in newest


@pytest.mark.parametrize(("value", "expected"), [(1.0, EVEN), (0.0, NOTHING), (0.25, LITTLE), (9.0, MUCH)])
def test_colours(value: float, expected: tuple[int, int, int]) -> None:
    assert colour(value) == expected


def test_a_run_without_experts_has_no_such_section(tmp_path: Path) -> None:
    assert "Load of" not in of(write(tmp_path / "run"))
