"""What `slipway evaluate` refuses before anything is loaded; tests/families evaluates real checkpoints."""

from pathlib import Path

import pytest

from refusals import check_line
from slipway import cli


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    check_line(capsys.readouterr().err, "run.dir", tmp_path, "plan.json")
    assert list(tmp_path.iterdir()) == []
