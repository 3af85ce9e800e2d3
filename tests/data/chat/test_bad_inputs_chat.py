"""The rows of bad_inputs_chat.py: exit code 2, one line, nothing written but what was prepared on the way."""

import subprocess
import sys

import pytest

import warm
from data.chat.bad_inputs_chat import ROWS
from refusals import check_line
from slipway.cli import main


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_refused_in_one_line(row, tmp_path, monkeypatch, capfd) -> None:
    row.prepare(tmp_path)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    monkeypatch.chdir(tmp_path)
    code, out, err = _run(row.argv.split(), capfd)
    assert (code, out) == (2, ""), err
    # beside progress, and what is left out
    told = "\n".join(line for line in err.splitlines() if not line.startswith("data: "))
    path, *facts = (part.replace("FOLDER", str(tmp_path)) for part in (row.path, *row.facts))
    check_line(told, path, *facts)
    if not row.argv.startswith("train "):
        assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def _run(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Training in a process of its own: it adapts Megatron-core, which other tests may have imported here."""
    if words[0] != "train":
        code = main(words)
        out, err = capfd.readouterr()
        return code, out, err
    with warm.start(
        [sys.executable, "-m", "slipway", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(timeout=100)
    return process.returncode, out, err
