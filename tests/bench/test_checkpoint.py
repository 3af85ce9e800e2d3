"""`slipway bench checkpoint`, small and real."""

import json
from pathlib import Path

from training import slipway

SMALL = ["model.num_layers=2", "model.hidden_size=64", "model.num_attention_heads=4", "model.vocab_size=257"]
SMALL += ["data.tokenizer.kind=byte"]


def test_both_ways_of_saving_are_measured_and_nothing_stays(tmp_path: Path) -> None:
    words = ["bench", "checkpoint", "--rounds=1", "--json", f"--dir={tmp_path}", *SMALL]
    done = slipway(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    rows = {row["save"]: row for row in found["rows"]}
    assert set(rows) == {"waited for", "beside training"}
    for row in rows.values():
        assert 0 < row["least_stall_s"] <= row["stall_s"] <= row["most_stall_s"] <= row["complete_s"] + 1e-9
    assert rows["waited for"]["step_ratio"] == 1.0
    # fp32: weight, two moments and the copy of a vocabulary and two layers of 12 hidden^2, at least
    assert found["summary"]["mib"] * 2**20 > 12 * (257 * 64 + 2 * 12 * 64**2)
    assert list(tmp_path.iterdir()) == []
