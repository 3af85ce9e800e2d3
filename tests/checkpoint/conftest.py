"""A run with checkpoints, for the tests of what is done with them."""

import shutil
from pathlib import Path

import pytest

from checkpoints import make_checkpoint


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checkpoints 10, 20 and 30."""
    run_dir = tmp_path_factory.mktemp("run")
    for step in (10, 20, 30):
        make_checkpoint(run_dir, step)
    return run_dir


@pytest.fixture
def run_dir(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "run"))
