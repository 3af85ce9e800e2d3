import json
import math
import subprocess
import sys
from typing import Any

import numpy
import pytest
from PIL import Image

from refusals import refused
from slipway.config.compose import compose
from slipway.plan import make_plan, plan_file
from slipway.plan.units import Units
from slipway.report import command, curve, metrics, table
from slipway.report.summary import summarize


def write_run(folder, steps=200, plan: Any = True, **values):
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
        made = make_plan(compose(["experiment=demo"]))
        plan_file.write(made if plan is True else plan(made), folder / "plan.json")
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
    assert {path.name for path in run.iterdir()} == {"loss.png", "metrics.jsonl", "plan.json", "report.html"}


def vision(plan):
    """A plan of images, with a loss that has no unit."""
    return plan.model_copy(
        update={
            "unit": "image",
            "units_per_sample": 1,
            "units": plan.samples,
            "loss_unit": "",
            "chance_loss": None,
        }
    )


def json_of(run, capsys):
    assert command.report(run, as_json=True) == 0
    return json.loads(capsys.readouterr().out)


PLANS = {"text": lambda plan: plan, "vision": vision}


def test_numbers_have_the_units_of_the_plan(tmp_path):
    """Where the sample is the unit, it is shown once."""
    run = write_run(tmp_path / "run", samples_per_second=40.0, consumed_samples=1600)
    texts = {}
    for name, change in PLANS.items():
        plan = change(make_plan(compose(["experiment=demo"])))
        summary = summarize(metrics.read(run / "metrics.jsonl"), Units.of(plan))
        texts[name] = {f"{label}: {text}" for label, text in table.rows(summary, Units.of(plan), plan)}
    assert {"samples: 1,600 of 2,560", "tokens: 204,800 of 327,680"} <= texts["text"]
    assert "samples per second: 40 (median)" in texts["text"]
    assert {"tokens per second: 5,000 (median)", "best validation: 3.2500 at step 200"} <= texts["text"]
    assert any("→ 3.2500" in text and text.endswith("nats per token") for text in texts["text"])
    assert {"images: 1,600 of 2,560", "images per second: 5,000 (median)"} <= texts["vision"]
    assert not any("sample" in text or "token" in text for text in texts["vision"])


def test_the_picture_has_the_units_of_the_plan(tmp_path, monkeypatch):
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    shown, saved = [], Figure.savefig

    def save(figure, path, **more):
        saved(figure, path, **more)
        axes = [one for above in figure.axes for one in (above, *above.child_axes)]
        texts = [text for one in axes for text in one.findobj(Text)]
        shown.append("\n".join(text.get_text() for text in (*figure.texts, *texts)))

    monkeypatch.setattr(Figure, "savefig", save)
    run = write_run(tmp_path / "run")
    for change in PLANS.values():
        plan = change(make_plan(compose(["experiment=demo"])))
        curve.draw(metrics.read(run / "metrics.jsonl"), Units.of(plan), plan, "a", run / "loss.png")
    text, images = shown
    for found in ("16 × 128 tokens per step", "Tokens per second", "loss (nats per token)", "9.01: a model"):
        assert found in text
    for found in ("16 images per step", "Images per second", "0 images"):
        assert found in images
    assert "token" not in images.lower() and "nats" not in images and "learnt" not in images


def test_measures_of_the_family_are_in_the_table_and_the_json(tmp_path, capsys):
    run = write_run(tmp_path / "run", steps=2, measures={"f1": 0.5})
    with (run / "metrics.jsonl").open("a") as file:
        for step, value in ((1, 0.25), (2, 0.75)):
            line = {"kind": "validation", "step": step, "loss": 3.0, "measures": {"f1": value}}
            file.write(json.dumps(line) + "\n")
    found = json_of(run, capsys)
    assert (found["measures"], found["validation_measures"]) == ({"f1": [0.5, 0.5]}, {"f1": [0.25, 0.75]})
    assert (found["unit"], found["units_per_sample"], found["loss_unit"]) == ("token", 128, "nats per token")
    assert (found["name"], found["dir"], found["step"]) == ("demo", str(run), 2)
    assert command.report(run) == 0
    assert "validation f1" in (out := capsys.readouterr().out) and "0.2500 → 0.7500" in out


def test_without_a_plan_the_file_speaks_for_itself(tmp_path, capsys):
    run = write_run(tmp_path / "run", plan=False)
    start = {"kind": "event", "event": "start", "step": 0, "unit": "patch", "units_per_sample": 196}
    (run / "metrics.jsonl").write_text(json.dumps(start) + "\n" + (run / "metrics.jsonl").read_text())
    assert json_of(run, capsys)["unit"] == "patch"
    assert command.report(run) == 0
    assert "patches per second" in capsys.readouterr().out


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
    out = capsys.readouterr().out
    assert "plan.json: config" in out and "model and layout" in out


def test_no_such_run_names_the_runs_beside_it(tmp_path):
    write_run(tmp_path / "first", steps=1, plan=False)
    write_run(tmp_path / "second", steps=1, plan=False)
    (tmp_path / "empty").mkdir()
    beside = f"{tmp_path / 'first'}, {tmp_path / 'second'}"
    for name, *facts in (("third",), ("empty", "metrics.jsonl")):
        with refused("run.dir", *facts, value=tmp_path / name, use=beside):
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
