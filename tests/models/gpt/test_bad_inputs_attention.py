"""The rows of bad_inputs_attention.py: exit code 2, one line, nothing written."""

import pytest

from models.gpt.bad_inputs_attention import ROWS
from refusals import check_line
from slipway.cli import main


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_refused_in_one_line(row, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(row.argv.split())
    out, err = capfd.readouterr()
    assert (code, out) == (2, ""), err
    check_line(err, row.path, *row.facts)
    assert not list(tmp_path.iterdir())
