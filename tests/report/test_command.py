import json
import math
import subprocess
import sys

import numpy
import pytest
from PIL import Image

from refusals import refused
from slipway.config.compose import compose
from slipway.plan import make_plan, plan_file
from slipway.report import command, curve


def write_run(folder, steps=200, plan=True, **values):
    folder.mkdir(parents=True)
    lines = [{"kind": "validation", "step": 0, "loss": 9.0}]
    for step in range(1, steps + 1):
        loss = 3 + 6 * math.exp(-step / 20) + 0.2 * (-1) ** step
        rates = {
            "learning_rate": 1e-3,
            "grad_norm": 1 / step,
            "units_per_second": 5000.0,
            "step_seconds": 0.5,
        }
        lines.append({"kind": "train", "step": step, "loss": loss, **rates, **values})
    lines.append({"kind": "validation", "step": steps, "loss": 3.25})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if plan:
        plan_file.write(make_plan(compose(["experiment=demo"])), folder / "plan.json")
    return folder


def pixels(folder):
    return numpy.asarray(Image.open(folder / "loss.png").convert("RGB"))


def coloured(image, color):
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((image == wanted).all(axis=2).sum())


def test_table_and_picture(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    assert command.report(run) == 0
    out = capsys.readouterr().out
    for shown in ("demo", "TP2 × PP2 × DP2", "200 of", "9.0000 → 3.2500", "5,000", str(run / "loss.png")):
        assert shown in out
    image = pixels(run)
    assert image.shape == (1200, 1600, 3)
    for color in (curve.TRAIN, curve.RAW, curve.VALIDATION):
        assert coloured(image, color) > 100
    assert {path.name for path in run.iterdir()} == {"loss.png", "metrics.jsonl", "plan.json"}


def test_the_curve_falls_in_the_picture(tmp_path):
    image = pixels_after(write_run(tmp_path / "run"))
    rows, columns = numpy.nonzero((image == [int(curve.TRAIN[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=2))
    upper = rows < 780  # the loss panel, above the three small ones
    left, right = columns[upper].min(), columns[upper & (rows > 500)].max()
    assert (
        rows[upper & (columns < left + 20)].mean() < 350 < 650 < rows[upper & (columns > right - 20)].mean()
    )


def pixels_after(run):
    assert command.report(run) == 0
    return pixels(run)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 1},
        {"loss": float("nan")},
        {"learning_rate": 0.0},
        {"plan": False, "units_per_second": None},
    ],
)
def test_unusual_runs_are_drawn_too(tmp_path, values, capsys):
    assert pixels_after(write_run(tmp_path / "a $run_{$ [/x]", **values)).std() > 0
    if "plan" in values:
        assert "no plan.json" in capsys.readouterr().out


def test_a_plan_of_another_version_is_named_and_left_out(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    (run / "plan.json").write_text('{"config": {}}')
    assert command.report(run) == 0
    assert "is not a plan of this version" in capsys.readouterr().out


def test_no_such_run_names_the_runs_beside_it(tmp_path):
    write_run(tmp_path / "first", steps=1, plan=False)
    write_run(tmp_path / "second", steps=1, plan=False)
    (tmp_path / "empty").mkdir()
    for name in ("third", "empty"):
        beside = [tmp_path / "first", tmp_path / "second"]
        with refused("run.dir", value=tmp_path / name, use=beside):
            command.report(tmp_path / name)
    with refused("run.dir", tmp_path / "empty", value=tmp_path / "empty" / "run"):
        command.report(tmp_path / "empty" / "run")


def test_a_run_without_a_step_is_said_to_be_so(tmp_path):
    write_run(tmp_path / "run", steps=0)
    with refused("run.dir", value=tmp_path / "run" / "metrics.jsonl"):
        command.report(tmp_path / "run")
    assert not (tmp_path / "run" / "loss.png").exists()


def test_no_torch_and_no_display_is_needed(tmp_path):
    run = write_run(tmp_path / "run")
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path; "
        "from slipway.report.command import report; sys.exit(report(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (run / "loss.png").exists()
