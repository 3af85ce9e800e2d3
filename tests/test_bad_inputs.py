import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from refusals import check_line
from slipway.cli import main


def _table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bad_inputs", Path(__file__).with_name("bad_inputs.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ROWS = _table().ROWS


def test_the_table_is_long_and_names_are_unique() -> None:
    assert len(ROWS) >= 30
    assert len({row.name for row in ROWS}) == len(ROWS)


# `plan` shares every check with `train` and starts nothing, so it can run in this process; other verbs, and a
# few rows of `plan`, run as users run them.
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.argv.startswith("plan ")], ids=lambda row: row.name
)
def test_refused_in_one_line(row, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    before = _prepare(row, tmp_path)
    code = main(row.argv.split())
    out, err = capfd.readouterr()
    _check(row, code, out, err, tmp_path, before)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if not row.argv.startswith("plan ")]
    + [row for row in ROWS if row.argv.startswith("plan ")][::10],
    ids=lambda row: row.name,
)
@pytest.mark.timeout(120)
def test_refused_by_the_program(row, tmp_path) -> None:
    before = _prepare(row, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "slipway", *row.argv.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"},
    )
    _check(row, done.returncode, done.stdout, done.stderr, tmp_path, before)


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
