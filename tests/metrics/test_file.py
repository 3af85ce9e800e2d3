"""metrics.jsonl is read by one reader, which nothing in the file can stop."""

import json
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.metrics import file as metrics_file
from slipway.metrics.file import MISSING, lines_of, missing_steps, newest, number, parse, read, record_of
from slipway.metrics.log import drop_after
from slipway.plan.units import Units
from slipway.report import metrics as report_metrics
from slipway.report.metrics import by_step
from slipway.report.summary import summarize
from slipway.runs.progress import read_progress
from slipway.train.stopping import measured_pace

GOOD = [{"kind": "train", "step": step, "loss": 1.0, "step_seconds": 0.5} for step in (1, 2, 3)]
FOREIGN = [
    *(b"null", b"123", b"{}", b"[]", b'"train"', b"NaN", b"loss 3.1", b"\xff\xfe\x00", b"\x00" * 4096),
    *(b'{"kind": "train"}', b'{"kind": 7, "step": 1}', b'{"kind": "train", "step": "7"}', b"[" * 100_000),
    b'{"kind": "event", "event": ["start"], "step": 2}',
    *(b'{"kind": "train", "step": true}', b'{"kind": "train", "step": 1.5}', b"\xef\xbb\xbf{}", b'{"a": \r1'),
    b'{"kind": "train", "st' + json.dumps(GOOD[0]).encode(),
]
ODD = [  # records by their form, with nothing in them as it should be
    b'{"kind": "train", "step": 2, "loss": "low", "step_seconds": [], "time": {}}',
    b'{"kind": "event", "event": "start", "step": 2}',
    b'{"kind": "checkpoint", "step": 2, "seconds": 1' + b"0" * 400 + b"}",
    b'{"kind": "event", "event": "steps missing", "step": 2, "steps": [[-1000000000000, "x"], 3, [1]]}',
]


def encoded(record: dict) -> bytes:
    return json.dumps(record).encode() + b"\n"


@given(
    st.lists(st.one_of(st.sampled_from([*FOREIGN, *ODD]), st.binary(max_size=40)), max_size=6), st.binary()
)
def test_nothing_in_the_file_stops_a_reader(tmp_path_factory, lines: list[bytes], torn: bytes) -> None:
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    content = b"".join(map(encoded, GOOD)) + b"".join(line + b"\n" for line in lines) + torn
    path.write_bytes(content)
    course = parse(content)
    by_record = [record for record in course.records if record in GOOD]
    assert by_record == GOOD
    summarize(by_step(course), Units())
    measured_pace(path)
    read_progress(path.parent)
    missing_steps(course.records, 5)
    foreign = [
        line for line, record in lines_of(content) if record is None and line.strip() and line[-1:] == b"\n"
    ]
    assert len(course.foreign) == len(foreign)
    drop_after(path, 2)
    left = path.read_bytes()
    assert [line for line, record in lines_of(left) if record is None] == foreign  # as they were
    assert [record for record in parse(left).records if record in GOOD] == GOOD[:2]
    drop_after(path, 2)
    assert path.read_bytes() == left


WRITTEN = b"".join(
    [
        encoded({"kind": "event", "event": "start", "step": 0, "seconds": 2.0}),
        *map(encoded, GOOD[:2]),
        FOREIGN[-1] + b"\n",  # its end alone would be a record
        encoded({"kind": "event", "event": "stop", "step": 2, "reason": "SIGTERM"}),
        encoded(GOOD[2]),
    ]
)


@given(st.integers(0, len(WRITTEN)), st.integers(1, 300))
def test_wherever_a_file_is_cut_all_readers_agree(tmp_path_factory, length: int, block: int) -> None:
    """Report, progress, pace and the continuation: each knows the whole lines, and none knows the torn one."""
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    path.write_bytes(WRITTEN[:length])
    lines = [record_of(line) for line in WRITTEN[:length].splitlines(keepends=True) if line.endswith(b"\n")]
    records = [record for record in lines if record]
    trained = [record["step"] for record in records if record["kind"] == "train"]
    assert read(path).records == records
    with patch.object(metrics_file, "BLOCK", block):
        assert newest(path, lambda record: False)[::-1] == records
        found = newest(path, lambda record: record["kind"] == "train")
        assert read_progress(path.parent).step == (trained[-1] if trained else None)
    first = max((at for at, record in enumerate(records) if record["kind"] == "train"), default=0)
    assert found[::-1] == records[first:]
    assert [record["step"] for record in report_metrics.read(path).train] == trained
    assert list(measured_pace(path).steps) == [0.5] * len(trained)
    assert drop_after(path, 9).records == records
    assert path.read_bytes() == WRITTEN[:length].rpartition(b"\n")[0] + b"\n" * bool(lines)
    assert drop_after(path, 9) == read(path)


def test_the_newest_records_are_the_same_wherever_a_block_begins(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(WRITTEN)
    for block in range(1, len(WRITTEN) + 2):
        with patch.object(metrics_file, "BLOCK", block):
            assert newest(path, lambda record: record["step"] == 1)[::-1] == read(path).records[1:]


@pytest.mark.parametrize("line", FOREIGN)
def test_what_is_no_record_is_counted(line: bytes) -> None:
    course = parse(encoded(GOOD[0]) + line + b"\n" + encoded(GOOD[1]))
    assert (course.records, course.foreign) == (GOOD[:2], [2])


def test_a_number_is_a_finite_one() -> None:
    record = {"a": 1, "b": 2.5, "c": True, "d": None, "e": float("inf"), "f": 10**400, "g": "1"}
    assert [number(record, name) for name in "abcdefgh"] == [1.0, 2.5, None, None, None, None, None, None]


def test_steps_without_a_line_are_named_once() -> None:
    records = [{"kind": "train", "step": step} for step in (3, 4, 8)]
    assert missing_steps(records, 9) == [(1, 2), (5, 7), (9, 9)]
    noted = {"kind": "event", "event": MISSING, "step": 9, "steps": [[1, 2], [5, 7]]}
    assert missing_steps([*records, noted], 9) == [(9, 9)]
    assert missing_steps(records, 2) == [(1, 2)]
    assert missing_steps([], 0) == []


def test_no_file_yet(tmp_path: Path) -> None:
    assert not any(measured_pace(tmp_path / "metrics.jsonl").steps)
