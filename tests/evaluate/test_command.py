"""What `slipway evaluate` refuses before anything is loaded; tests/families evaluates real checkpoints."""

from pathlib import Path

import pytest

from refusals import check_line
from slipway import cli
from slipway.config.compose import compose
from slipway.plan import make_plan, plan_file


def test_a_family_without_an_evaluation_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_file.write(make_plan(compose(["experiment=demo"])), tmp_path / "plan.json")
    assert cli.main(["evaluate", f"run.dir={tmp_path}"]) == 2
    check_line(capsys.readouterr().err, "model.family", "gpt")


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    check_line(capsys.readouterr().err, "run.dir", tmp_path, "plan.json")
    assert list(tmp_path.iterdir()) == []
