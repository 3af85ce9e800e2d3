"""The rows of bad_inputs_data.py: exit code 2, one line, nothing written."""

import pytest

from data.text.bad_inputs_data import ROWS
from refusals import check_line
from slipway.cli import main


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_refused_in_one_line(row, tmp_path, monkeypatch, capfd) -> None:
    if row.prepare is not None:
        row.prepare(tmp_path)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    capfd.readouterr()  # what torch says while good data is prepared
    monkeypatch.chdir(tmp_path)
    code = main(row.argv.split())
    out, err = capfd.readouterr()
    assert (code, out) == (2, ""), err
    check_line(err, row.path.replace("FOLDER", str(tmp_path)), *row.facts)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
