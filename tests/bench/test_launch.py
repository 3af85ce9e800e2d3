"""`slipway bench launch` on a small sweep: every part is measured. The limits: tests/launch/test_command.py."""

import json

import pytest

from refusals import check_line
from slipway.cli import main


def test_parts_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "launch", "--repeat", "1", "--jobs", "3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    rows = {row["launch"]: row for row in record["rows"]}
    assert list(rows) == ["5,884 nodes x 4, Slurm", "1,000 nodes x 8, JobSet", "a sweep of 3, Slurm"]
    for row in rows.values():
        parts = [row["compose_s"], row["plan_s"], row["render_s"]]
        assert all(part > 0 for part in (*parts, row["text_kb"], row["command_s"]))
        assert record["summary"]["parts_s"][row["launch"]] == pytest.approx(sum(parts))


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "launch", "--jobs", "0"]) == 2
    check_line(capsys.readouterr().err, "bench launch --jobs", 0, 1)
