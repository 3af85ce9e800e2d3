"""Fixtures: the image, built once from a clean clone, and its SIF; all below one folder that is removed at the end.

tests/conftest.py takes them: one image for all tests of a session.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from container_tools import ROOT, Image, good, missing_tools, run, slipway, storage


@pytest.fixture(scope="session")
def work() -> Iterator[Path]:
    """A folder that every user can enter; podman keeps its images below it."""
    if lacking := missing_tools():
        pytest.skip(f"the container tests need {', '.join(lacking)} (CONTRIBUTING, real containers)")
    kept = os.environ.get("SLIPWAY_TEST_STORAGE")  # of use to who changes these tests: layers stay cached
    folder = Path(tempfile.mkdtemp(prefix="slipway-image-"))
    folder.chmod(0o755)
    store = Path(kept) if kept else folder / "storage"
    store.mkdir(exist_ok=True)
    before = {name: os.environ.get(name) for name in ("CONTAINERS_STORAGE_CONF", "APPTAINER_NO_PRIVS")}
    os.environ["CONTAINERS_STORAGE_CONF"] = str(storage(store))
    os.environ["APPTAINER_NO_PRIVS"] = "1"  # root without all capabilities cannot keep what it has not
    try:
        yield folder
    finally:
        subprocess.run(["podman", "rm", "--all", "--force"], capture_output=True)  # of this storage alone
        if not kept:
            # not `podman system reset`: it would take the host's networks along
            subprocess.run(["umount", "--recursive", str(store / "graph" / "overlay")], capture_output=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def clone(work: Path) -> Path:
    """A clean clone of this checkout's last commit."""
    good(run(["git", "clone", "--quiet", str(ROOT), str(work / "clone")]))
    return work / "clone"


@pytest.fixture(scope="session")
def image(work: Path, clone: Path) -> Image:
    """The cpu variant, built from the clone."""
    words = [
        "image",
        "build",
        "--context",
        str(clone),
        "--dir",
        str(work / "dist"),
        "--tag",
        "slipway-test:cpu",
    ]
    good(slipway(*words, cwd=work, timeout=900))
    record = work / "dist" / "slipway-cpu.json"
    content = json.loads(record.read_text())
    return Image("localhost/slipway-test:cpu", content["digest"], work / "dist" / content["archive"], record)


@pytest.fixture(scope="session")
def sif(work: Path, clone: Path, image: Image) -> Path:
    """Its SIF, by spython."""
    good(slipway("image", "sif", str(image.archive), "--context", str(clone), cwd=work, timeout=600))
    return image.archive.with_suffix(".sif")
