"""The cluster that other tests use is a cluster: nodes of their own, faults on one alone, nothing left."""

import subprocess
from pathlib import Path

import pytest

import slurm_testbed
from slurm_testbed import NODES, host_name, running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.mark.skipif(bool(slurm_testbed.lacking()), reason=f"lacking: {', '.join(slurm_testbed.lacking())}")
def test_nodes_faults_and_an_end_without_leftovers(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "fault").touch()
    (tmp_path / "seen").mkdir()
    job = tmp_path / "job.sh"
    job.write_text(
        f"#!/bin/sh\nsrun sh -c 'ls {tmp_path}/seen > {tmp_path}/$SLURMD_NODENAME; hostname; sleep 0.1'\n"
    )
    with running(tmp_path) as slurm:
        assert slurm.on("n2", ["mount", "--bind", str(planted), f"{tmp_path}/seen"]).returncode == 0
        assert slurm.wait(slurm.sbatch("-N4", "-o", f"{tmp_path}/out", str(job))) == "COMPLETED"
        assert {name: (tmp_path / name).read_text() for name in NODES} == {
            "n1": "",
            "n2": "fault\n",
            "n3": "",
            "n4": "",
        }
        assert sorted((tmp_path / "out").read_text().split()) == [host_name(node) for node in NODES]
        slurm.crash("n3")
        slurm.drain("n1")
        assert slurm.idle() == 2
        slurm.resume("n3")
        assert slurm.idle() == 3
        pids = [process.pid for process in slurm.daemons.values()]
    left = subprocess.run(
        ["ps", "-p", ",".join(map(str, pids)), "-o", "args="], capture_output=True, text=True
    )
    assert left.stdout == ""
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
