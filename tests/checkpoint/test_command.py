import json
import subprocess
import sys
from pathlib import Path

import pytest

from checkpoints import make_checkpoint
from slipway.cli import main


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch) -> Path:
    """A run with a whole and a truncated checkpoint."""
    monkeypatch.chdir(tmp_path)
    for step in (10, 20):
        make_checkpoint(tmp_path / "run", step)
    (tmp_path / "run" / "checkpoints" / "step-00000020" / "__0_0.distcp").write_bytes(b"cut")
    return tmp_path / "run"


def test_list(run_dir: Path, capsys) -> None:
    assert main(["checkpoint", "list", "run.dir=run"]) == 0
    ten, twenty = [line for line in capsys.readouterr().out.splitlines() if line.strip()[:2] in ("10", "20")]
    assert "160" in ten and "complete" in ten  # 16 samples a step
    assert "damaged: __0_0.distcp: 300 bytes expected, 3 found" in twenty
    assert main(["checkpoint", "list", "--json", "run.dir=run"]) == 0
    ten, twenty = json.loads(capsys.readouterr().out)
    assert (ten["step"], ten["consumed_samples"], ten["problem"]) == (10, 160, None)
    files = [path for path in (run_dir / "checkpoints" / "step-00000010").iterdir()]
    assert (ten["files"], ten["bytes"]) == (
        len(files) - 1,
        sum(path.stat().st_size for path in files if path.name != "manifest.json"),
    )
    assert twenty["problem"].startswith("__0_0.distcp")


def test_verify(run_dir: Path, capsys) -> None:
    assert main(["checkpoint", "verify", "run.dir=run"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "step-00000010  good",
        "step-00000020  damaged: __0_0.distcp: 300 bytes expected, 3 found",
    ]
    assert main(["checkpoint", "verify", "run.dir=run", "--step", "10", "--json"]) == 0
    ((record),) = json.loads(capsys.readouterr().out)
    assert (record["step"], record["problem"]) == (10, None)
    shard = run_dir / "checkpoints" / "step-00000010" / "__1_0.distcp"
    shard.write_bytes(b"x" + shard.read_bytes()[1:])
    assert main(["checkpoint", "verify", "run.dir=run", "--step", "10"]) == 1
    assert "SHA-256" in capsys.readouterr().out


def test_what_cannot_be_read_is_not_called_damaged(run_dir: Path, capsys) -> None:
    """A link to an archive that is not there now."""
    newest = run_dir / "checkpoints" / "step-00000020"
    newest.rename(run_dir / "elsewhere")
    newest.symlink_to(run_dir / "archive")
    for action, code in (("list", 0), ("verify", 1)):
        assert main(["checkpoint", action, "run.dir=run"]) == code
        out = capsys.readouterr().out
        assert "cannot be read: nothing is at" in out and "damaged: " not in out
    assert main(["checkpoint", "list", "run.dir=run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["damaged"] is False
    assert main(["checkpoint", "show", "run.dir=run", "--step", "20"]) != 0
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_show(run_dir: Path, capsys) -> None:
    assert main(["checkpoint", "show", "run.dir=run", "--step", "10"]) == 0
    out = capsys.readouterr().out
    for text in ("step-00000010", "160", "fp32", "hidden_size 128", "torch 0", "300 bytes"):
        assert text in out
    assert main(["checkpoint", "show", "run.dir=run", "--step", "10", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["step"] == 10 and record["files"]["__0_0.distcp"]["size"] == 300


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list", "run.dir=nowhere"], "run.dir: nowhere does not exist"),
        (["verify", "run.dir=run", "--step", "7"], "--step: 7 is not in run/checkpoints"),
        (["erase", "run.dir=run"], "erase"),
        (["run.dir=run"], "list"),
        ([], "action"),
    ],
)
def test_mistakes(run_dir: Path, capsys, words: list[str], expected: str) -> None:
    assert main(["checkpoint", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert expected in line


def test_no_checkpoint_yet(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert main(["checkpoint", "list", "run.dir=run"]) == 0
    assert capsys.readouterr().out == "no checkpoint in run/checkpoints\n"
    assert main(["checkpoint", "list", "run.dir=run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["checkpoint", "verify", "run.dir=run"]) == 0
    assert capsys.readouterr().out == "no checkpoint\n"
    assert main(["checkpoint", "show", "run.dir=run"]) == 2


def test_no_torch_is_needed(run_dir: Path) -> None:
    program = (
        "import sys; from slipway.cli import main; main(['checkpoint', 'verify', 'run.dir=run']); "
        "sys.exit(bool({'torch', 'megatron', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
