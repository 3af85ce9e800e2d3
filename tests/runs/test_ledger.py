"""Records of segments: numbers, reasons, and what is made of one that nobody closed."""

import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.config.compose import compose
from slipway.metrics.file import BLOCK, parse
from slipway.plan import make_plan
from slipway.plan.facts import Facts, facts_of
from slipway.report.summary import layout
from slipway.runs import ledger
from slipway.runs.ledger import read_segments, why_ended
from slipway.runs.lock.holder import Holder, job_id
from slipway.runs.progress import Progress, progress_of, read_progress

FACTS = Facts(name="a", model="demo", steps=10, nodes=1, world_size=2, layout={"DP": 2})


def test_a_closed_record(tmp_path: Path, add_segment) -> None:
    written = add_segment(tmp_path, 1, 40, code=75, stop="SIGTERM")
    (read,) = read_segments(tmp_path, alive=False)
    assert read == written
    assert (read.number, read.first_step, read.last_step) == (1, 1, 40)
    assert (read.reason, read.detail, read.exit_code) == ("signal", "SIGTERM", 75)
    assert read.versions["torch"] and read.versions["megatron-core"] and read.versions["slipway"]
    assert read.device_hours == pytest.approx(4.0, abs=0.01)  # 4 devices, one hour
    assert [path.name for path in (tmp_path / "segments").iterdir()] == ["0001.json"]


@pytest.mark.parametrize(
    ("code", "step", "stop", "expected"),
    [
        (0, 10, None, ("finished", None)),
        (0, 9, None, ("stop_after_step", None)),
        (0, None, None, ("stop_after_step", None)),
        (75, 5, "SIGUSR1", ("signal", "SIGUSR1")),
        (75, 5, "wall time", ("wall time", None)),
        (75, 5, "SIGTERM and wall time", ("signal", "SIGTERM and wall time")),
        (2, 5, None, ("user error", None)),
        (1, 5, None, ("failed", None)),
        (130, 5, None, ("interrupted", None)),
        (-9, 5, None, ("failed", None)),
    ],
)
def test_why_a_segment_ended(code: int, step: int | None, stop: str | None, expected: tuple) -> None:
    assert why_ended(code, Progress(step=step, stop=stop), 10) == expected


def test_an_open_record_is_lost_unless_the_run_is_alive(tmp_path: Path, add_segment) -> None:
    add_segment(tmp_path, 1, 7, code=None)
    (dead,) = read_segments(tmp_path, alive=False)
    assert (dead.reason, dead.last_step, dead.exit_code) == ("lost", 7, None)
    assert dead.ended == pytest.approx(time.time(), abs=30)  # the last metrics line, not the begin
    (alive,) = read_segments(tmp_path, alive=True)
    assert (alive.reason, alive.ended) == (None, None)


def test_the_next_segment_closes_a_lost_one_before_its_steps_are_undone(tmp_path: Path, add_segment) -> None:
    add_segment(tmp_path, 1, 7, code=None)
    add_segment(tmp_path, 5, 5, code=None)
    (tmp_path / "metrics.jsonl").write_text("")  # as if the continuation had dropped every line
    first, second = read_segments(tmp_path, alive=True)
    assert (first.reason, first.last_step) == ("lost", 7)
    assert (second.number, second.reason) == (2, None)


def test_an_earlier_run_of_a_step_is_not_this_segments(tmp_path: Path) -> None:
    line = {"kind": "train", "time": 1000.0, "step": 8, "loss": 1.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    ledger.begin_segment(tmp_path, FACTS, Holder.here(), first_step=5, started=2000.0, environment={})
    (segment,) = read_segments(tmp_path, alive=False)
    assert segment.last_step is None


def test_a_living_segment_notes_how_far_it_is(tmp_path: Path, add_segment) -> None:
    segment = add_segment(tmp_path, 1, 3, code=None)
    ledger.continue_segment(tmp_path, segment, now=segment.updated + 60)
    (read,) = read_segments(tmp_path, alive=True)
    assert (read.last_step, read.updated, read.ended) == (3, segment.updated + 60, None)


def test_a_broken_record_is_named_and_stops_no_training(tmp_path: Path, add_segment, capsys) -> None:
    add_segment(tmp_path, 1, 3, code=0)
    (tmp_path / "segments" / "0001.json").write_text('{"number": 1}')
    told: list[str] = []
    assert ledger.read_segments(tmp_path, alive=False, tell=told.append) == []
    (line,) = told
    assert "0001.json: is not a segment's record: facts: Field required" in line
    assert add_segment(tmp_path, 4, 5, code=0).number == 2
    assert "0001.json" in capsys.readouterr().out


@settings(max_examples=40)
@given(st.lists(st.sampled_from([None, 0, 1, 2, 75, 130]), min_size=1, max_size=8), st.booleans())
def test_any_history(codes: list[int | None], alive: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        for at, code in enumerate(codes):
            segment = ledger.begin_segment(run_dir, FACTS, Holder.here(), at + 1, 100.0 * at, {})
            if code is not None:
                ledger.end_segment(run_dir, segment, code, 100.0 * at + 50)
        read = read_segments(run_dir, alive)
    assert [segment.number for segment in read] == list(range(1, len(codes) + 1))
    for at, (segment, code) in enumerate(zip(read, codes, strict=True)):
        under_way = alive and code is None and at == len(codes) - 1
        assert (segment.ended is None) == (segment.reason is None) == under_way
        assert (segment.reason == "lost") == (code is None and not under_way)
        assert segment.exit_code == code
        assert segment.device_hours >= 0


def test_job_numbers() -> None:
    assert job_id({"SLURM_JOB_ID": "17"}) == "17"
    assert job_id({"SLURM_JOB_ID": "", "PBS_JOBID": "4.server"}) == "4.server"
    assert job_id({}) is None


def test_facts_say_what_the_report_says() -> None:
    words = ["model=demo", "resources.devices_per_node=8", "parallelism.tensor_model_parallel_size=2"]
    plan = make_plan(compose([*words, "parallelism.pipeline_model_parallel_size=2"]))
    facts = facts_of(plan.model_dump(mode="json"))
    assert facts.layout_text == layout(plan) == "TP2 × PP2 × DP2"
    assert (facts.world_size, facts.steps, facts.model) == (8, 200, "demo")


RECORDS = st.lists(
    st.sampled_from(["train", "validation", "checkpoint", "stop", "torn"]).flatmap(
        lambda kind: st.tuples(st.just(kind), st.integers(0, 50))
    ),
    max_size=12,
)


def _line(kind: str, step: int) -> bytes:
    if kind == "torn":
        return b'{"kind": "train", "st'
    record = {"kind": kind, "step": step, "loss": step / 7, "time": 5.0}
    if kind == "stop":
        record = {"kind": "event", "event": "stop", "step": step, "reason": f"SIG{step}"}
    return json.dumps(record).encode()


@given(RECORDS)
def test_progress_is_the_last_training_line_and_the_last_stop_after_it(
    records: list[tuple[str, int]],
) -> None:
    found = progress_of(parse(b"\n".join([*(_line(*record) for record in records), b""])).records[::-1])
    trained = [at for at, (kind, _) in enumerate(records) if kind == "train"]
    if not trained:
        assert found == Progress()
        return
    step = records[trained[-1]][1]
    stops = [f"SIG{number}" for kind, number in records[trained[-1] :] if kind == "stop"]
    assert found == Progress(step, step / 7, 5.0, stops[-1] if stops else None)


@pytest.mark.parametrize("after", [0, 1, BLOCK // 2, BLOCK, 9 * BLOCK])
def test_progress_is_found_behind_any_amount_of_other_lines(tmp_path: Path, after: int) -> None:
    other = json.dumps({"kind": "validation", "step": 3, "loss": 1.0, "note": "x" * 100}).encode() + b"\n"
    text = _line("train", 1) + b"\n" + _line("train", 2) + b"\n" + other * -(-after // len(other))
    (tmp_path / "metrics.jsonl").write_bytes(text + b'{"kind": "train", "step": 3')
    assert read_progress(tmp_path).step == 2
    assert read_progress(tmp_path / "none") == Progress()
