"""metrics.jsonl after a continuation: nothing torn, nothing undone, what is wrong with it named once."""

import errno
import json
import os
from pathlib import Path

import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.files import Unreadable
from slipway.metrics.log import Metrics, drop_after
from slipway.plan import make_plan


def test_later_steps_and_a_torn_line_go(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"kind": "train", "step": step, "loss": 1.0} for step in (1, 2, 3)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tr')
    drop_after(path, 2)
    assert [json.loads(line) for line in path.read_text().splitlines()] == lines[:2]
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_yet(tmp_path: Path) -> None:
    drop_after(tmp_path / "metrics.jsonl", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with refused(tmp_path / "metrics.jsonl", os.strerror(errno.EISDIR), kind=Unreadable):
        drop_after(tmp_path / "metrics.jsonl", 0)


def test_what_is_wrong_with_the_file_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Continued from step 6: the lines of 1 to 3 and of 5 are gone, and two lines are no records."""
    path = tmp_path / "metrics.jsonl"
    line = '{"kind": "train", "step": %d}\n'
    path.write_bytes((line % 4).encode() + b"null\n" + (line % 6).encode() + b"\xff\n" + (line % 7).encode())
    plan = make_plan(compose(["model=demo", f"run.dir={tmp_path}"]))
    Metrics(plan, 6).close()
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert "no line of steps 1 to 3, 5, though" in told[0]
    assert "2 lines are no records, the first is line 2" in told[1]
    kept = path.read_bytes().splitlines()
    assert kept[:4] == [(line % 4).encode().strip(), b"null", (line % 6).encode().strip(), b"\xff"]
    missing, foreign = map(json.loads, kept[4:])
    assert (missing["event"], missing["steps"]) == ("steps missing", [[1, 3], [5, 5]])
    assert (foreign["event"], foreign["count"]) == ("foreign lines", 2)
    before = path.read_bytes()
    Metrics(plan, 6).close()
    assert capsys.readouterr().out == ""
    assert path.read_bytes() == before
