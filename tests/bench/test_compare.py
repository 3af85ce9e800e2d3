"""`slipway bench compare`: the arithmetic of turns, and one small comparison with both references."""

import json
from pathlib import Path

import pytest

from refusals import refused
from slipway.bench.compare import COMPILED, EAGER, OURS, Measured, Turn, _asked, _row
from slipway.kernels.compiler import cpp_trouble
from training import slipway

TINY = [
    "model.num_layers=1",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "model.kv_channels=16",
    "model.vocab_size=256",
    "model.max_position_embeddings=32",
    "data.sequence_length=32",
]


def test_ratios_are_of_turns_beside_each_other() -> None:
    """The machine was busy in the third turn: all were slow."""
    ours = Measured(9.0, [Turn(1.0, 2.0), Turn(2.0, 2.0), Turn(30.0, 2.0)])
    theirs = Measured(5.0, [Turn(1.0, 3.0), Turn(3.0, 3.0), Turn(60.0, 3.0)])
    row = _row(EAGER, theirs, ours, units=6, flops=12e12, ceiling=8e12)
    assert (row.ratio, row.ratio_lower, row.ratio_upper, row.processor_ratio) == (1.5, 1.25, 1.75, 1.5)
    assert (row.units_per_second, row.least_units_per_second, row.most_units_per_second) == (2.0, 0.1, 6.0)
    assert (row.tflops, row.share, row.first_step_s) == (4.0, 0.5, 5.0)
    one = _row(OURS, Measured(1.0, ours.turns[:1]), Measured(1.0, ours.turns[:1]), 6, 1.0, 1.0)
    assert one.ratio == one.ratio_lower == one.ratio_upper == 1.0


def test_references_have_names() -> None:
    assert _asked("eager,compiled") == [EAGER, COMPILED]
    with refused("bench compare --references", value="fast", use=["eager", "compiled"]):
        _asked("eager,fast")


def test_without_a_compiler_there_is_nothing_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in (cpp_trouble() or "")
    monkeypatch.delenv("CXX")
    (tmp_path / "g++").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert "Python.h" in (cpp_trouble() or "")
    (tmp_path / "Python.h").touch()
    assert cpp_trouble() is None


@pytest.mark.slow
def test_both_references_take_their_turns(tmp_path: Path) -> None:
    done = slipway("bench", "compare", "--rounds", "2", "--steps", "1", "--json", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    left_out = found["summary"]["left_out"]
    assert [row["trainer"] for row in found["rows"]] == [OURS, EAGER, *([] if left_out else [COMPILED])]
    assert bool(left_out) == bool(cpp_trouble())
    for row in found["rows"]:
        assert 0 < row["ratio_lower"] <= row["ratio"] <= row["ratio_upper"]
        assert 0 < row["least_units_per_second"] <= row["units_per_second"] <= row["most_units_per_second"]
    assert found["rows"][0]["ratio"] == 1.0
