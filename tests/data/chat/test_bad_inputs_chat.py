"""The rows of bad_inputs_chat.py: exit code 2, one line, nothing written but what was prepared on the way."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from refusals import check_line
from slipway.cli import main


def _table() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "bad_inputs_chat", Path(__file__).with_name("bad_inputs_chat.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("row", _table().ROWS, ids=lambda row: row.name)
def test_refused_in_one_line(row, tmp_path, monkeypatch, capfd) -> None:
    row.prepare(tmp_path)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    monkeypatch.chdir(tmp_path)
    code = main(row.argv.split())
    out, err = capfd.readouterr()
    assert (code, out) == (2, ""), err
    # beside progress, and what is left out
    told = "\n".join(line for line in err.splitlines() if not line.startswith("data: "))
    path, *facts = (part.replace("FOLDER", str(tmp_path)) for part in (row.path, *row.facts))
    check_line(told, path, *facts)
    if not row.argv.startswith("train "):
        assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
