"""A kernel that `slipway jupyter` has written, started by a real Jupyter client, in the real SIF."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

import notebooks
from container_tools import STEPS, good, measured, slipway

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

# Root without all capabilities cannot keep what it has not; the kernel's script hands no APPTAINER_NO_PRIVS on.
PROFILE = """\
defaults: [base/cluster@_here_, _self_]
name: here
container:
  options: [--no-privs]
environment:
  FROM_PROFILE: "it's $HOME, \\"quoted\\""
"""
METRICS = """
from slipway.report.metrics import read
from pathlib import Path
print([(line["step"], line["loss"].hex()) for line in read(Path("outside/metrics.jsonl")).train])
"""
ENVIRONMENT = """
import json, os, sys
print(json.dumps({"path": sys.path, "environment": dict(os.environ), "pid": os.getpid(), "python": sys.executable}))
"""


@pytest.fixture(scope="session")
def kernels(work: Path, sif: Path, run_folder: Path) -> Path:
    """The folder of the kernel `here`."""
    (work / "sites" / "cluster").mkdir(parents=True)
    (work / "sites" / "cluster" / "here.yaml").write_text(PROFILE)
    words = [
        "jupyter",
        "here",
        "--image",
        str(sif),
        "--bind",
        str(run_folder),
        "--prefix",
        str(work / "project"),
    ]
    good(slipway(*words, "--cluster", "here", "--config-dir", str(work / "sites"), cwd=work))
    return work / "project" / "share" / "jupyter" / "kernels"


@pytest.fixture(scope="session")
def host(work: Path) -> dict[str, str]:
    """What a server's shell may hold that would spoil a kernel."""
    home = work / "host-home"
    (home / ".ipython" / "profile_default" / "startup").mkdir(parents=True)
    for place in (home / ".ipython/profile_default/startup/00.py", work / "host-path" / "slipway.py"):
        place.parent.mkdir(exist_ok=True)
        place.write_text("raise SystemExit('host')")
    packages = home / ".local/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (packages / "numpy.py").write_text("raise SystemExit('host')")
    return {
        "HOME": str(home),
        "PYTHONPATH": str(work / "host-path"),
        "PYTHONSTARTUP": str(work / "host-path" / "slipway.py"),
        "LD_LIBRARY_PATH": str(work / "host-path"),
        "APPTAINERENV_LD_PRELOAD": str(work / "host-path" / "slipway.py"),
        "APPTAINER_BIND": f"{work / 'host-path'}:/opt/slipway/lib",
        "JPY_PARENT_PID": "1",
        "CUDA_VISIBLE_DEVICES": "3",
    }


def test_a_cell_reads_a_runs_metrics_and_nothing_of_the_host(
    kernels: Path, run_folder: Path, outside: Path, host: dict[str, str]
) -> None:
    with notebooks.kernel(kernels, "here", run_folder, host) as (manager, client):
        read = notebooks.answer(client, METRICS)
        assert read.strip() == str([(step, loss) for step, loss, _ in measured(outside)])
        found = json.loads(notebooks.answer(client, ENVIRONMENT))
        assert found["python"].startswith("/opt/slipway/") and "host-path" not in str(found["path"])
        environment = found["environment"]
        assert [name for name, value in environment.items() if "host-" in value and name != "HOME"] == []
        assert environment["CUDA_VISIBLE_DEVICES"] == "3"
        assert environment["FROM_PROFILE"] == 'it\'s $HOME, "quoted"'

        assert notebooks.interrupted(manager, client) == "KeyboardInterrupt"
        assert notebooks.answer(client, "print(1)") == "1\n"
    deadline = time.monotonic() + 30
    while Path(f"/proc/{found['pid']}").exists():
        assert time.monotonic() < deadline, "the kernel outlives its client"
        time.sleep(0.1)


def test_the_notebook_of_the_documentation_runs(kernels: Path, run_folder: Path, outside: Path) -> None:
    notebook = shutil.copy(notebooks.ROOT / "docs/notebooks/run.ipynb", run_folder)
    set_run = "from pathlib import Path\nRUN = Path('outside')"
    cells = notebooks.executed(Path(notebook), set_run, kernels, "here", run_folder)
    told = "\n".join(notebooks.texts(cells))
    assert f"step {STEPS}, " in told and "def main(" in told
    assert notebooks.shown(cells, "image/png") == 1
    print(f"{told}\n{os.path.getsize(notebook)} bytes")
