"""Faults planted on a real Slurm of four nodes: each is found and named, with its node where it belongs to one."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor.cluster import OTHER_SUBNET, SUBNET, Cluster, cluster, missing, slow_network
from slipway.config.compose import compose
from slipway.run_dir import RunDir
from slipway.runs import bad_nodes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

BASE = ["run.dir=run", "data.dir=data", "resources.nodes=4", "cluster.network.interfaces=[eth0]"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if lacking := missing():
        pytest.skip(f"needs {', '.join(lacking)}")
    with cluster(tmp_path_factory.mktemp("site")) as made:
        (made.folder / "data").mkdir()
        for name in ("manifest.json", "stdlib.bin", "stdlib.idx"):
            (made.folder / "data" / name).write_text("{}")
        yield made


class Seen:
    """What a run of the doctor said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stdout, done.stderr
        self.done, self.told = done, json.loads(done.stdout)
        self.faults = {
            (check["name"], check["node"]): check
            for check in self.told["checks"]
            if check["status"] == "fault"
        }

    def names(self, name: str, node: str, *words: str) -> None:
        """The fault is found on this node, with these words, is told on standard error and by the exit code."""
        assert (name, node) in self.faults, (self.faults, self.done.stderr)
        check = self.faults[name, node]
        assert all(word in check["saw"] + check["expected"] for word in words), check
        assert check["advice"]
        lines = [line for line in self.done.stderr.splitlines() if f"{name}: saw" in line]
        assert any(line.startswith("slipway doctor: ") for line in lines), self.done.stderr
        assert self.done.returncode == 1


def examine(site: Cluster, words: list[str], run: list[str], **options) -> Seen:
    config = compose([*BASE, *run])
    (site.folder / "plan.json").write_text(json.dumps({"config": config.model_dump(mode="json")}))
    RunDir(site.folder / "run").bad_nodes.unlink(missing_ok=True)
    done = site.doctor(["--plan", "plan.json", "--json", *words], SLIPWAY_CACHE=str(site.folder), **options)
    return Seen(done)


def test_a_healthy_cluster_has_no_fault(site: Cluster) -> None:
    run = ["resources.devices_per_node=2", "cluster.network.inter_node_gb_per_s=0.01"]
    seen = examine(site, ["--collectives"], run, ranks=2)
    assert (seen.faults, seen.done.returncode) == ({}, 0), seen.done.stderr
    assert seen.told["nodes"] == ["n1", "n2", "n3", "n4"]
    said = {check["name"]: check for check in seen.told["checks"] if check["status"] == "ok"}
    assert "gloo by eth0 10.213.87." in said["transport"]["saw"]
    assert {"all-reduce", "node-all-reduce", "links", "clock", "run-dir-shared", "versions"} <= said.keys()
    assert not RunDir(site.folder / "run").bad_nodes.exists()
    assert list((site.folder / "run").iterdir()) == []


def test_faults_of_single_nodes(site: Cluster) -> None:
    """Many at once: mounts, leaks and cores of one node each."""
    lent, cache, run = site.folder / "lent", site.folder / "cache", site.folder / "run"
    for folder in (lent / "lib", cache, run):
        folder.mkdir(parents=True, exist_ok=True)
    user = (
        site.folder / "user" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    )
    for place in (user, site.folder / "path"):
        (place / "numpy").mkdir(parents=True)
        (place / "numpy" / "__init__.py").write_text("raise RuntimeError\n")
    start = f"import site, sys; site.addsitedir('{sysconfig.get_path('purelib')}'); from slipway.cli import main; "
    (site.folder / "start.py").write_text(start + "sys.exit(main())\n")
    base = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    mounts = {
        "n2": [["-t", "tmpfs", "none", lent], ["-t", "tmpfs", "none", run]],
        "n3": [
            ["-t", "tmpfs", "-o", "size=1m", "none", "/dev/shm"],
            ["-t", "tmpfs", "-o", "size=16k", "none", cache],
        ],
        "n4": [["-t", "tmpfs", "-o", "ro", "none", cache]],
    }
    for node, given in mounts.items():
        for words in given:
            assert site.slurm.on(node, ["mount", *map(str, words)]).returncode == 0
    planted = {
        "n1": "pin='taskset -c 0'",
        "n3": f"export PYTHONUSERBASE={site.folder}/user; python='{base} {site.folder}/start.py'",
        "n4": f"export PYTHONPATH={site.folder}/path${{PYTHONPATH:+:$PYTHONPATH}}",
    }
    try:
        seen = examine(
            site,
            [],
            ["resources.devices_per_node=2", f"cluster.container.binds=['{lent}/lib:/lent']"],
            ranks=2,
            planted={node: f"export SLIPWAY_CACHE={cache}; {planted.get(node, '')}" for node in seen_nodes()},
        )
    finally:
        for node, given in mounts.items():
            for words in given:
                site.slurm.on(node, ["umount", str(words[-1])])
    seen.names("binds", "n2", f"not there: {lent}/lib")
    seen.names("run-dir-shared", "n2", "rank 0's file is not in run")
    seen.names("shm", "n3", "1 MiB")
    seen.names("caches", "n3", "No space left on device")
    seen.names("user-site", "n3", "gives numpy", str(user))
    seen.names("caches", "n4", "Read-only file system")
    seen.names("environment", "n4", "numpy would come from there")
    seen.names("cpu-binding", "n1", "ranks 0-1 share cores 0", "1 cores in all for 2 ranks")
    assert len(seen.faults) == 8
    bad = bad_nodes.read(site.folder / "run")
    assert set(bad) == {"n2", "n3", "n4"}  # the cores are the job's own fault: another node would not help
    assert "shm: 1 MiB" in bad["n3"]


def seen_nodes() -> list[str]:
    return ["n1", "n2", "n3", "n4"]


def test_faults_of_gpus(site: Cluster) -> None:
    """Trees of /proc, /sys and /dev stand for nodes with GPUs; torch is a folder with its version.py."""
    torch = site.folder / "fake" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("raise RuntimeError\n")
    (torch / "version.py").write_text("__version__ = '2.13.0'\ncuda: Optional[str] = '13.3'\nhip = None\n")
    start = f"import sys; sys.path.insert(0, '{site.folder}/fake'); from slipway.cli import main; sys.exit(main())\n"
    (site.folder / "start_cuda.py").write_text(start)
    for node in seen_nodes():
        tree = site.folder / "trees" / node
        driver = "535.104.05" if node == "n3" else "580.95.05"
        text = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Sat Aug 19 01:15:15 UTC 2023\n"
        plant(tree / "proc/driver/nvidia/version", text)
        for number in range(3 if node == "n2" else 4):
            plant(tree / f"dev/nvidia{number}", "")
        if node != "n4":
            plant(tree / "dev/infiniband/uverbs0", "")
        plant(tree / "sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n")
        (tree / "dev/shm").symlink_to("/dev/shm")
    python = f"python='{sys.executable} {site.folder}/start_cuda.py'"
    fabric = ["cluster=local_gpu", "cluster.network.fabric=infiniband", "cluster.network.adapters=[mlx5_0]"]
    seen = examine(
        site,
        [],
        [*fabric, "resources.devices_per_node=4"],
        planted={
            node: f'{python}; set -- "$@" --root {site.folder}/trees/{node}; '
            f"export CUDA_VISIBLE_DEVICES={'NoDevFiles' if node == 'n1' else '0,1,2,3'}"
            for node in seen_nodes()
        },
    )
    seen.names("devices", "n2", "3: /dev/nvidia0", "4 (resources.devices_per_node)")
    seen.names("driver", "n3", "driver 535.104", "580.65 or newer, for CUDA 13.3")
    seen.names("rdma", "n4", "no /dev/infiniband/uverbs*")
    seen.names("device-binding", "n1", "rank 0 sees no GPU")
    assert {name for name, _ in seen.faults} - {"memlock"} == {"devices", "driver", "rdma", "device-binding"}
    assert set(bad_nodes.read(site.folder / "run")) == {"n2", "n3", "n4"}


def plant(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gone.invalid", "gone.invalid does not resolve"),
        (f"{SUBNET}.2", "which is not n1: it has 10.213.87.1"),
    ],
    ids=["does not resolve", "another node's"],
)
def test_a_wrong_master_address(site: Cluster, address: str, words: str) -> None:
    nodes = ["n1", "n2"]
    seen = examine(site, ["--timeout", "2"], ["resources.nodes=2"], nodes=nodes, MASTER_ADDR=address)
    seen.names("master-address", "n1", words)
    seen.names("answers", "n2", "rank 1 does not reach it")
    assert bad_nodes.read(site.folder / "run") == {}  # no node is to blame


def test_a_node_that_does_not_answer(site: Cluster) -> None:
    seen = examine(site, ["--timeout", "2"], [], planted={"n3": "exec sleep 9"})
    seen.names("answers", "n3", "no word from rank 2")
    assert set(bad_nodes.read(site.folder / "run")) == {"n3"}


def test_wrong_interfaces(site: Cluster) -> None:
    run = ["resources.nodes=2", "cluster.network.interfaces=[eth0,ib0]"]
    seen = examine(site, [], run, nodes=["n1", "n2"], GLOO_SOCKET_IFNAME="lo")
    for node in ("n1", "n2"):
        seen.names("interfaces", node, "ib0 does not exist")
        seen.names("settings", node, "GLOO_SOCKET_IFNAME=lo: the loopback reaches no other node")


def test_collectives_that_take_another_way(site: Cluster) -> None:
    """Nobody asked for eth1: the nodes' names stand for its addresses, and gloo follows them without a word."""
    site.name_nodes(OTHER_SUBNET)
    try:
        seen = examine(site, ["--collectives"], ["resources.nodes=2"], nodes=["n1", "n2"])
    finally:
        site.name_nodes(SUBNET)
    assert set(seen.faults) == {("transport", "n1"), ("transport", "n2")}
    seen.names("transport", "n2", "gloo by eth1 10.213.88.2", "eth0, not the loopback")


def test_a_slow_node(site: Cluster) -> None:
    with slow_network(site, "n3", "100mbit"):
        seen = examine(site, ["--collectives"], ["cluster.network.inter_node_gb_per_s=0.08"])
    seen.names("links", "n3", "GB/s")
    assert (
        float(seen.faults["links", "n3"]["saw"].split()[0]) < 0.06
    )  # 100 Mbit/s are 0.0125 GB/s, and a burst passes
    seen.names("all-reduce", "", "over 4 ranks", "0.04 GB/s or more: 50% of the profile's 0.08 GB/s")
    assert {node for name, node in seen.faults if name == "links"} == {"n3"}
    assert set(bad_nodes.read(site.folder / "run")) == {"n3"}
