"""docs/start/slurm.md is followed word by word on a real Slurm of four nodes, with the real SIF."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_testbed
from followed import Page

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(slurm_testbed.lacking()), reason=f"no Slurm here: {', '.join(slurm_testbed.lacking())}"
    ),
]

# Root without all capabilities cannot keep what it has not; a site's users are not root.
APPTAINER = """#!/bin/sh
export APPTAINER_NO_PRIVS=1
PATH=${PATH#*:}
exec apptainer "$@"
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, since tables are broken by width."""
    folder = Path(tempfile.mkdtemp(prefix="you", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sif_here(request: pytest.FixtureRequest) -> Path:
    """The SIF; SLIPWAY_TEST_SIF names one that is there, of use to who changes this test."""
    kept = os.environ.get("SLIPWAY_TEST_SIF")
    return Path(kept) if kept else request.getfixturevalue("sif")


def test_the_page(home: Path, sif_here: Path, tmp_path: Path) -> None:
    project, programs = home / "project", home / "bin"
    project.mkdir()
    programs.mkdir()
    (project / "slipway-cpu.sif").symlink_to(sif_here)
    (programs / "apptainer").write_text(APPTAINER)
    (programs / "apptainer").chmod(0o755)
    with slurm_testbed.running(tmp_path) as slurm:
        path = f"{programs}:{Path(sys.executable).parent}:{slurm.environment['PATH']}"
        kept = {"HOME": str(home), "PATH": path, "SLURM_CONF": slurm.environment["SLURM_CONF"]}
        Page("docs/start/slurm.md").follow(home, {**kept, "LANG": "C.UTF-8"})
