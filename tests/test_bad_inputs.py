import os
import subprocess
import sys
from pathlib import Path

import pytest

import bad_command_lines
import bad_inputs
import bad_inputs_jupyter
import warm
from launch import bad_inputs_launch
from models.gpt import bad_inputs_experts, bad_inputs_prediction
from optimizers import bad_inputs_optimizers
from refusals import check_line
from slipway.cli import main
from train import bad_inputs_training

ROWS = [
    *bad_inputs.ROWS,
    *bad_command_lines.ROWS,
    *bad_inputs_jupyter.ROWS,
    *bad_inputs_launch.ROWS,
    *bad_inputs_optimizers.ROWS,
    *bad_inputs_training.ROWS,
    *bad_inputs_experts.ROWS,
    *bad_inputs_prediction.ROWS,
]
FIRST = list({row.argv.split()[0]: row for row in reversed(ROWS)}.values())  # of each verb


def test_the_table_is_long_and_names_are_unique() -> None:
    assert len(ROWS) >= 30
    assert len({row.name for row in ROWS}) == len(ROWS)


# What is refused before anything starts runs in this process. `train` runs in processes of its own: where a mistake
# passed, they would be ranks. So does the first row of each verb, as users run it.
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.argv.split()[0] != "train"], ids=lambda row: row.name
)
def test_refused_in_one_line(row, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    before = _prepare(row, tmp_path)
    code = main(row.argv.split())
    out, err = capfd.readouterr()
    _check(row, code, out, err, tmp_path, before)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row in FIRST or row.argv.split()[0] == "train"],
    ids=lambda row: row.name,
)
@pytest.mark.timeout(120)
def test_refused_by_the_program(row, tmp_path) -> None:
    before = _prepare(row, tmp_path)
    command = [sys.executable, "-m", "slipway", *row.argv.split()]
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    with (subprocess.Popen if row in FIRST else warm.start)(
        command,
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(timeout=100)
    _check(row, process.returncode, out, err, tmp_path, before)


def _prepare(row, folder: Path) -> list[Path]:
    if row.prepare is not None:
        row.prepare(folder)
    return sorted(folder.rglob("*"))


def _check(row, code: int, out: str, err: str, folder: Path, before: list[Path]) -> None:
    assert code == 2, (out, err)
    assert out == ""
    assert "Traceback" not in err
    check_line(err, row.path.replace("FOLDER", str(folder)), *row.facts)
    assert sorted(folder.rglob("*")) == before
