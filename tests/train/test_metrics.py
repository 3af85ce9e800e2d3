"""metrics.jsonl after a continuation: nothing torn, nothing undone."""

import json
from pathlib import Path

from slipway.train.metrics import drop_after


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
