"""containers/env.sh, by every shell here: what of the host's environment is left, and where caches go."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLS = [shell for shell in ("sh", "dash", "bash", "busybox") if shutil.which(shell)]
POISON = {
    "PYTHONPATH": "/host",
    "PYTHONHOME": "/host",
    "PYTHONUSERBASE": "/host",
    "PYTHONSTARTUP": "/host/start.py",
    "LD_LIBRARY_PATH": "/host/lib",
    "PIP_CONSTRAINT": "/host/constraint.txt",
    "PATH": "/host/bin:/usr/bin:/bin",
}


@pytest.fixture(params=SHELLS)
def after(request: pytest.FixtureRequest):  # noqa: ANN201
    """The environment after env.sh, given the one before."""

    def answer(**before: str) -> dict[str, str]:
        shell = ["busybox", "sh"] if request.param == "busybox" else [request.param]
        program = f". {ROOT}/containers/env.sh; . {ROOT}/containers/env.sh; /usr/bin/env"
        done = subprocess.run([*shell, "-euc", program], env=before, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    return answer


def test_nothing_of_the_host_is_left(after) -> None:
    found = after(**POISON, HOME="/nonexistent")
    assert "/host" not in " ".join(found.values())
    assert found["PYTHONPATH"] == found["PYTHONHOME"] == found["LD_PRELOAD"] == ""
    assert (found["PYTHONNOUSERSITE"], found["PATH"].split(":")[0]) == ("1", "/opt/slipway/bin")
    assert found["HOME"] == "/tmp"


def test_one_variable_moves_all_caches(after, tmp_path: Path) -> None:
    found = after(SLIPWAY_CACHE="/job/cache", HOME=str(tmp_path), PATH="/usr/bin:/bin")
    names = [name for name in found if name.endswith(("_CACHE", "_CACHE_DIR", "_HOME", "CONFIGDIR", "_DIR"))]
    assert len(names) >= 12
    assert {found[name].split("/cache")[0] for name in names} == {"/job"}
    assert found["TRITON_CACHE_DIR"] == "/job/cache/triton"
    assert found["TORCHINDUCTOR_CACHE_DIR"] == "/job/cache/inductor"
    assert found["HOME"] == str(tmp_path)


def test_each_job_has_caches_of_its_own(after, tmp_path: Path) -> None:
    found = after(SLURM_JOB_ID="7", TMPDIR=str(tmp_path), PATH="/usr/bin:/bin")
    assert found["TRITON_CACHE_DIR"].startswith(f"{tmp_path}/slipway-") and "-7/" in found["TRITON_CACHE_DIR"]
    found = after(TMPDIR=str(tmp_path / "gone"), PATH="/usr/bin:/bin")
    assert found["SLIPWAY_CACHE"].startswith("/tmp/slipway-")


def test_a_site_can_lend_libraries_on_purpose(after) -> None:
    found = after(SLIPWAY_LD_LIBRARY_PATH="/site/lib", LD_LIBRARY_PATH="/host/lib", PATH="/usr/bin:/bin")
    assert found["LD_LIBRARY_PATH"] == "/site/lib"
