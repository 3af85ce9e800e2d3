"""Kinds of attention compute what transformers' classes compute with the same weights."""

import json
import sys
from pathlib import Path

import pytest

import warm

DRIVER = Path(__file__).with_name("kinds_in_transformers.py")


@pytest.mark.timeout(300)
def test_logits_are_those_of_transformers(tmp_path: Path) -> None:
    done = warm.run([sys.executable, str(DRIVER)], cwd=tmp_path, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 3
    for name, far in found.items():
        assert far["off"] < 1e-5 * max(1.0, far["largest"]), (name, far)
        stretched = "normalized" not in name
        assert (far["without"] > 1e-2) == stretched, (name, far)
