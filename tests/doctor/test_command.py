"""The verb, as users and launchers call it."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.doctor.finding import CHECKS
from slipway.doctor.node import NODE_CHECKS
from training import slipway

DOCUMENT = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_on_a_login_node(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = slipway("doctor", "cluster=slurm", cwd=tmp_path)
    assert time.monotonic() - begin < 10  # below one second on a quiet machine
    assert done.returncode == 0, done.stderr
    assert (
        "run-dir" in done.stdout and "Left out here" in done.stdout and "srun slipway doctor" in done.stdout
    )
    assert max(map(len, done.stdout.splitlines()[:-3])) <= 160
    assert list(tmp_path.iterdir()) == []


def test_json_and_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = slipway("doctor", "--json", "run.dir=file/run", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["nodes"] == [told["node"]]
    assert {check["name"] for check in told["checks"]} == set(NODE_CHECKS)
    assert {"answers", "links", "clock"} <= set(told["left_out"])
    found = {check["name"]: check for check in told["checks"]}["run-dir"]
    assert found["status"] == "fault" and found["group"] == "files" and found["node"] == told["node"]
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "run-dir" in line]
    assert len(lines) == 1 and lines[0].startswith(f"slipway doctor: {told['node']}: run-dir: saw ")


def test_a_file_system_that_hangs(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to waits for good, as a file of a dead server does."""
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "manifest.json")
    begin = time.monotonic()
    done = slipway("doctor", "--timeout", "2", "data.dir=data", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("answers: no end after 2 s, in the check data\n")
    assert time.monotonic() - begin < 30


def ranks(folder: Path, count: int, *words: str, **variables: str) -> list[subprocess.CompletedProcess[str]]:
    """Ranks of one node, started as torchrun or a pod starts them."""
    port = 20000 + os.getpid() % 10000
    given = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    environment = {**os.environ, **given, "MASTER_PORT": str(port), **variables}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "slipway", "doctor", f"resources.devices_per_node={count}", *words],
            cwd=folder,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        said = [process.communicate(timeout=90) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *words)
        for process, words in zip(started, said, strict=True)
    ]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    for name in ("manifest.json", "stdlib.bin", "stdlib.idx"):
        (tmp_path / "data" / "stdlib").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "stdlib" / name).write_text("{}")
    return tmp_path


def test_all_ranks_end_alike_where_one_node_has_a_fault(prepared: Path) -> None:
    (prepared / "data" / "stdlib" / "stdlib.idx").unlink()
    first, second = ranks(prepared, 2)
    assert (first.returncode, second.returncode) == (1, 1)
    assert re.search(r"data\s+fault", first.stdout)
    assert "data: saw" in first.stderr


def test_a_rank_that_never_comes(prepared: Path) -> None:
    (done,) = ranks(prepared, 1, "--timeout", "1", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_PORT="20001")
    assert done.returncode == 1
    assert "answers: saw no word from rank 1" in done.stderr


def test_a_machine_alone_starts_its_ranks(prepared: Path) -> None:
    words = ["--json", "--collectives", "resources.devices_per_node=2"]
    done = slipway("doctor", *words, cwd=prepared)
    statuses = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, statuses["node-all-reduce"]) == (0, "ok"), done.stderr
    assert statuses["answers"] == "ok" and statuses.keys() >= {"cpu-binding", "data"}
    assert "transport" not in statuses  # there is no way between nodes
    assert set(os.listdir(prepared)) == {"data", "runs"}


def test_pods_start_their_ranks(prepared: Path) -> None:
    """Two pods of two ranks; the second has no data."""
    (prepared / "two" / "runs").mkdir(parents=True)
    (prepared / "runs").mkdir()
    own = {"SLIPWAY_NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(21000 + os.getpid() % 9000)}
    words = ["doctor", "--json", "--timeout=30", "resources.nodes=2", "resources.devices_per_node=2"]
    pods = [
        subprocess.Popen(
            [sys.executable, "-m", "slipway", *words, f"run.dir={prepared}/runs/pods"],
            cwd=prepared / ("two" if number else "."),
            env={
                **os.environ,
                **own,
                "SLIPWAY_NODE_RANK": str(number),
                "SLIPWAY_NODE_NAME": f"machine{number}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [pod.communicate(timeout=90) for pod in pods]
    finally:
        for pod in pods:
            pod.kill()
    told = json.loads(said[0][0])
    assert [name.partition("/")[0] for name in told["nodes"]] == ["machine0", "machine1"]
    faults = {(c["name"], c["node"].partition("/")[0]) for c in told["checks"] if c["status"] == "fault"}
    assert ("data", "machine1") in faults and ("data", "machine0") not in faults
    assert "answers" in {c["name"] for c in told["checks"] if c["status"] == "ok"}
    assert [pod.returncode for pod in pods] == [1, 1]


def test_only_the_names_of_bad_nodes(tmp_path: Path) -> None:
    done = slipway("doctor", "--bad-nodes", "run.dir=/proc/run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")  # a node alone is no worse than the others


def test_help_and_the_document_list_every_check(tmp_path: Path) -> None:
    text = slipway("doctor", "--help", cwd=tmp_path).stdout
    document = DOCUMENT.read_text()
    for check in CHECKS:
        assert f"  {check.name} " in text and check.line in text
        assert f"| `{check.name}` |" in document
    assert set(NODE_CHECKS) <= {check.name for check in CHECKS}
    documented = re.findall(r"^\| `([a-z0-9-]+)` \|", document, re.MULTILINE)
    assert documented == [check.name for check in CHECKS]
