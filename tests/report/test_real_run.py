"""The report of a run that two ranks really trained, with some of its steps profiled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.metrics.fields import EVENTS, EVERY, LINES
from slipway.metrics.step_time import KINDS
from slipway.report import receipt
from slipway.report.run import read
from training import SMALL, layout, slipway, training_lines

WORDS = [*SMALL, "data=bytes", "training.steps=8", "validation.steps=1", *layout(ranks=2)]
WORDS += ["model.num_layers=2", "training.global_batch_size=4"]  # a report needs no more
PROFILED = ["logging.profile_step=3", "run.name=profiled", "run.dir=runs/profiled"]


# of no real device: what is planned with is told, and adds up
CONSTANTS = {
    "device": "two ranks of a laptop",
    "peak_tflops": 0.1,
    "memory_gb_per_s": 10.0,
    "rates": dict.fromkeys(
        ("product_share", "grouped_share", "attention_share", "attention_backward_share", "memory_share"), 0.5
    ),
    "inside": {"gb_per_s": 1.0},
    "between": {"gb_per_s": 1.0},
    "inside_devices": 2,
    "power_w": 30.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run, in two segments, and the same one without a profile."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "device.json").write_text(json.dumps(CONSTANTS))
    for words in (
        [*PROFILED, "training.stop_after_step=7"],
        PROFILED,
        ["run.name=plain", "run.dir=runs/plain"],
    ):
        done = slipway(
            "train", *WORDS, *words, f"cluster.device.measured={folder / 'device.json'}", cwd=folder
        )
        assert done.returncode == 0, done.stderr
    return folder


def profiles(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "profile"]


def test_lines_have_the_fields_of_the_reference(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "runs/profiled/metrics.jsonl").read_text().splitlines()]
    assert {"train", "validation", "checkpoint", "profile", "event"} <= {line["kind"] for line in lines}
    for line in lines:
        fields = EVERY | LINES[line["kind"]][1]
        always = {name for name, field in fields.items() if not field.sometimes}
        assert always <= line.keys(), line
        if line["kind"] == "event":
            assert line["event"] in EVENTS  # each has fields of its own
        else:
            assert line.keys() <= fields.keys(), line


def test_a_profile_is_written_once_and_changes_no_result(folder: Path) -> None:
    (line,) = profiles(folder / "runs" / "profiled")
    assert (line["first"], line["step"], line["steps"]) == (3, 6, 3)
    assert set(line["seconds"]) == set(KINDS)
    for kind in ("matmul", "other kernels", "communication", "optimizer"):
        assert line["seconds"][kind] > 0, kind
    assert not profiles(folder / "runs" / "plain")
    one, other = (training_lines(folder / "runs" / name) for name in ("profiled", "plain"))
    assert [step["loss"] for step in one] == [step["loss"] for step in other]


def test_the_receipt_adds_up_to_the_measured_step(folder: Path) -> None:
    run = read(folder / "runs" / "profiled", 0.0)
    found = receipt.make(run.plan, run.metrics)
    assert found.profile and found.measured and found.predicted
    assert sum(line.measured or 0.0 for line in found.lines) == pytest.approx(found.measured)
    planned = [line.predicted for line in found.lines]
    assert None not in planned and sum(filter(None, planned)) == pytest.approx(found.predicted)
    shares = receipt.attribution(found)
    assert sum(share for _, share in shares) == pytest.approx(
        found.measured / found.predicted - 1, abs=receipt.SMALLEST
    )


def test_the_page_and_the_json_tell_of_it(folder: Path) -> None:
    done = slipway("report", "profiled", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["receipt"]["profile"]["last"] == 6
    assert found["costs"]["total"] > found["costs"]["steps"] > 0
    assert found["energy_used"]["how"] in ("estimate", "measured") and found["energy_used"]["kwh"] > 0
    assert found["costs"]["starts"] > 0 and found["state"] == "finished"
    page = (folder / "runs" / "profiled" / "report.html").read_text()
    for shown in (
        "profiled",
        "Receipt",
        "data-parallel exchange",
        "two ranks of a laptop",
        "a segment begins with step 8",
        "device-hours",
    ):
        assert shown in page


def test_runs_by_any_name_and_side_by_side(folder: Path) -> None:
    done = slipway("report", "plain", "runs/profiled", cwd=folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "runs" / "report.html").read_text()
    assert "What differs" in page and "logging.profile_step" in page
    assert (folder / "runs" / "plain" / "loss.png").exists()
    done = slipway("report", "run.dir=runs/plain", *WORDS, "--out", "plain.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "plain" in (folder / "plain.html").read_text()


@pytest.mark.parametrize("words", [[], ["plian"], ["--dir", "nowhere", "plain"]])
def test_no_such_run(folder: Path, words: list[str]) -> None:
    done = slipway("report", *words, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_the_page_needs_neither_torch_nor_matplotlib(folder: Path) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, matplotlib=None, megatron=None)\n"
        "from pathlib import Path; from slipway.report.run import read; from slipway.report.page.document import page\n"
        "print(page([read(Path(sys.argv[1]), 0.0)], 0.0))"
    )
    command = [sys.executable, "-c", code, str(folder / "runs" / "profiled")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
