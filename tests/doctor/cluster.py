"""A Slurm of four nodes, each with a network namespace and an address of its own, in which the doctor is run."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm_testbed import NODES, Slurm, hosts, lacking, running

SUBNET, OTHER_SUBNET = "10.213.87", "10.213.88"
LIMIT_SECONDS = 60

# What a task does: into the network of its node, then the doctor, with what was planted for this node or rank.
_TASK = """
set -eu
plant=$1/plant.$SLURMD_NODENAME.sh; shift
. "$plant"
exec $pin nsenter --net=/run/netns/$network $python "$@"
"""


@dataclass(frozen=True)
class Cluster:
    """The cluster and the folder that its nodes share."""

    slurm: Slurm
    folder: Path
    tag: str

    def address(self, node: str) -> str:
        """Of a node in the job's network."""
        return f"{SUBNET}.{NODES.index(node) + 1}"

    def name_nodes(self, subnet: str) -> None:
        """The nodes' names stand for their addresses in this network."""
        lines = [hosts(f"{subnet}.{number}", [node]) for number, node in enumerate(NODES, 1)]
        (self.slurm.folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *lines]))

    def doctor(
        self,
        words: Sequence[str],
        ranks: int = 1,
        planted: dict[str, str] | None = None,
        nodes: Sequence[str] = NODES,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """`slipway doctor WORDS` by srun, `ranks` on each node. planted: shell for the tasks of a node."""
        for node in nodes:
            text = f"network={self.tag}{node} pin= python='{sys.executable} -m slipway'\n"
            text += (planted or {}).get(node, "") + "\n"
            (self.folder / f"plant.{node}.sh").write_text(text)
        srun = ["srun", "--quiet", f"--nodelist={','.join(nodes)}", f"--nodes={len(nodes)}"]
        srun += [f"--ntasks-per-node={ranks}", "--cpus-per-task=1", "--kill-on-bad-exit=0"]
        task = ["sh", "-c", _TASK, "sh", str(self.folder), "doctor", *words]
        given = {"MASTER_ADDR": self.address(nodes[0]), "MASTER_PORT": "29511", **variables}
        return self.slurm.run([*srun, *task], cwd=self.folder, timeout=LIMIT_SECONDS, **given)


def missing() -> list[str]:
    """What this machine lacks for it."""
    gone = lacking()
    gone += [program for program in ("ip", "tc", "taskset") if shutil.which(program) is None]
    return gone


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Up for the time of the block, gone without a trace."""
    tag = f"sd{os.getpid() % 10000}"
    with networks(tag), running(folder) as slurm:
        shared = folder / "shared"
        shared.mkdir()
        made = Cluster(slurm, shared, tag)
        made.name_nodes(SUBNET)
        yield made


@contextlib.contextmanager
def networks(tag: str) -> Iterator[None]:
    """One network namespace for each node, with eth0 in it, on one bridge that only they are on."""
    bridge = f"{tag}br"
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("link", "set", bridge, "up")
        for number, node in enumerate(NODES, 1):
            space, outer = f"{tag}{node}", f"{tag}v{number}"
            _ip("netns", "add", space)
            _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", outer, "master", bridge, "up")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "addr", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            # a second network, for management: slower in a real machine
            _ip("-n", space, "link", "add", "eth1", "link", "eth0", "type", "macvlan", "mode", "bridge")
            _ip("-n", space, "addr", "add", f"{OTHER_SUBNET}.{number}/24", "dev", "eth1")
            _ip("-n", space, "link", "set", "eth1", "up")
        yield
    finally:
        for number, node in enumerate(NODES, 1):
            subprocess.run(["ip", "link", "del", f"{tag}v{number}"], capture_output=True)
            subprocess.run(["ip", "netns", "del", f"{tag}{node}"], capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True)


@contextlib.contextmanager
def slow_network(cluster: Cluster, node: str, rate: str) -> Iterator[None]:
    """What leaves a node is held to a rate, as 100mbit."""
    within = ["ip", "netns", "exec", f"{cluster.tag}{node}", "tc", "qdisc"]
    shape = ["root", "tbf", "rate", rate, "burst", "64kb", "latency", "200ms"]
    subprocess.run([*within, "add", "dev", "eth0", *shape], check=True)
    try:
        yield
    finally:
        subprocess.run([*within, "del", "dev", "eth0", "root"], check=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)
