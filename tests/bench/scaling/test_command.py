"""Real measurements of a tiny model on one and two ranks; interrupted, continued, collected."""

import json
import signal
import sys
import time
from pathlib import Path

import pytest

import warm
from refusals import check_line
from slipway import cli
from slipway.metrics.step_time import KINDS
from training import slipway

TINY = [
    "model=demo",
    "data=stdlib",
    "model.num_layers=2",
    "model.hidden_size=32",
    "model.vocab_size=256",
    "model.max_position_embeddings=32",
    "training.global_batch_size=4",
    "training.micro_batch_size=1",
    "cluster.device.peak_tflops_fp32=0.1",
    "cluster.expected_mfu=0.5",
]
WORDS = ["--ranks", "1,2", "--repeats", "2", "--steps", "1", "--warmup", "1", "--out", "out", *TINY]
STRONG_ONLY = ["--scaling", "strong"]
RECORD = "bench-train.json"


def records(folder: Path) -> dict[str, int]:
    """Time of each record that is there, by its folder."""
    found = folder.glob(f"out/*/*/{RECORD}")
    return {str(path.parent.relative_to(folder / "out")): path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Ctrl-C came after the first measurement."""
    folder = tmp_path_factory.mktemp("scaling")
    words = [sys.executable, "-m", "slipway", "bench", "scaling", *WORDS, *STRONG_ONLY]
    with (folder / "said").open("w") as said:
        process = warm.Popen(words, cwd=folder, stdout=said, stderr=said)
        limit = time.monotonic() + 120
        while not records(folder):
            assert process.poll() is None and time.monotonic() < limit, (folder / "said").read_text()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        code = process.wait(120)
    assert code in (75, 130), (folder / "said").read_text()  # within a measurement, or between two
    assert 1 <= len(records(folder)) < 4
    return folder


def test_what_is_done_is_not_measured_again(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = records(interrupted)
    done = slipway("bench", "scaling", *WORDS, *STRONG_ONLY, "--json", cwd=interrupted)
    assert done.returncode == 0, done.stderr
    after = records(interrupted)
    assert sorted(after) == [f"1x{n}-batch4/repeat{r}" for n in (1, 2) for r in (1, 2)]
    assert before.items() <= after.items()

    record = json.loads(done.stdout)
    assert json.loads((interrupted / "out" / "bench-scaling.json").read_text()) == record
    assert (interrupted / "out" / "bench-scaling.png").read_bytes().startswith(b"\x89PNG")
    one, two = record["rows"]
    assert (one["devices"], two["devices"], two["layout"], two["ideal_speed_up"]) == (1, 2, "DP2", 2)
    assert two["speed_up"] == pytest.approx(one["step_s"] / two["step_s"])
    assert two["speed_up_low"] <= two["speed_up"] <= two["speed_up_high"]
    assert set(two["step_seconds"]) == set(KINDS) and two["step_seconds"]["communication"] > 0
    assert one["planned_step_s"] > two["planned_step_s"] > 0
    assert (record["summary"]["missing"], record["summary"]["cluster"]) == (0, "local")

    own = json.loads((interrupted / "out" / "1x2-batch4" / "repeat1" / RECORD).read_text())
    assert own["summary"]["ranks"] == 2
    assert "bench train" in own["command"] and "--plan out/1x2-batch4/repeat1/plan.json" in own["command"]

    # what is missing of another scaling is told, and not measured
    monkeypatch.chdir(interrupted)
    assert cli.main(["bench", "scaling", *WORDS, "--collect"]) == 0
    assert "repeats still missing: 2" in capfd.readouterr().out
    assert records(interrupted) == after


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["model.hidden_size=64"], "bench scaling --out", ["model.hidden_size=32", "--out DIR"]),
        (["--steps", "7"], "bench scaling --steps", [7, 1]),
        (["--submit"], "bench scaling --submit", ["local"]),
        (["--repeats", "0"], "bench scaling --repeats", [0, 1]),
        (["--out", "nowhere", "--collect"], "bench scaling --collect", ["nowhere"]),
        (["--out", "bad"], f"bad/1x1-batch4/repeat1/{RECORD}", []),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    words: list[str],
    path: str,
    facts: list[object],
    interrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(interrupted)
    (interrupted / "bad" / "1x1-batch4" / "repeat1").mkdir(parents=True, exist_ok=True)
    (interrupted / "bad" / "1x1-batch4" / "repeat1" / RECORD).write_text('{"summary": {"step_s": 0}}')
    before = records(interrupted)
    assert cli.main(["bench", "scaling", *WORDS, *words]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    check_line(said.err, path, *facts)
    assert records(interrupted) == before and not (interrupted / "nowhere").exists()
