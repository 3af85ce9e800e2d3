"""The runtimes that run the image and its SIF, and a run to train."""

import shutil
import subprocess
from pathlib import Path

import pytest

from container_tools import ROOT, RUN, STEPS, Image, Runtime, good, slipway


@pytest.fixture(scope="session")
def podman(image: Image) -> Runtime:
    return Runtime("podman", image.tag)


@pytest.fixture(scope="session")
def apptainer(sif: Path) -> Runtime:
    return Runtime("apptainer", str(sif))


@pytest.fixture(scope="session")
def run_folder(work: Path) -> Path:
    """The run folder with its data, prepared outside any container and writable by everybody."""
    folder = work / "runs"
    folder.mkdir()
    for name, source in {"one": "README.md", "two": "docs/training.md"}.items():
        shutil.copy(ROOT / source, folder / f"{name}.txt")
    good(slipway("data", *RUN, cwd=folder))
    subprocess.run(["chmod", "-R", "a+rwX", str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def outside(run_folder: Path) -> Path:
    """The same run, trained outside any container."""
    done = slipway("train", *RUN, f"training.steps={STEPS}", "run.dir=outside", cwd=run_folder)
    assert f"step {STEPS}/{STEPS}" in good(done)
    return run_folder / "outside"
