"""A real Slurm of a few nodes on this machine, up in a second or two, gone without a trace.

Each node is a slurmd in UTS, process and mount namespaces of its own: its own host name, which as on many clouds is
not the name that Slurm has for the node, its own /etc/hosts, mounts that no other node sees. Every daemon dies with
the process that started it, however that ends.

    with running(tmp_path) as slurm:
        job = slurm.sbatch("job.sh")
        slurm.wait(job, "COMPLETED")
        slurm.on("n2", ["mount", "--bind", "empty", "/data"])    # a fault, planted on one node
        slurm.crash("n3")
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("n1", "n2", "n3", "n4")
DEVICES = 4
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "unshare", "nsenter", "setpriv")
ENDED = (
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
)

# The two intervals of 1 s and cred_expire make what takes a site minutes (scheduling, requeues) a matter of seconds.
_CONF = """\
ClusterName=slipway
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MpiDefault=none
GresTypes=gpu
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
JobRequeue=1
FirstJobId={first_job}
MaxJobCount=1000
NodeName={nodes} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports} Sockets=2 CoresPerSocket=24 \
ThreadsPerCore=2 RealMemory=512000 Gres=gpu:{devices} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=24:00:00 DefMemPerCPU=100
"""

# What a node does before its slurmd starts: a name, a hosts file in which all nodes are this machine.
_NODE = """
set -eu
hostname "$3"
mount --bind "$2" /etc/hosts
exec slurmd -D -N "$1"
"""


def lacking() -> list[str]:
    """What such a cluster needs and this machine lacks; empty: it can be started."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=_path()) is None]
    return missing if os.getuid() == 0 else [*missing, "root's rights"]


def host_name(node: str) -> str:
    """What a node calls itself."""
    return f"ip-10-0-0-{node.removeprefix('n')}.cloud.internal"


def hosts(address: str, nodes: Sequence[str] = NODES) -> str:
    """A line of /etc/hosts by which all nodes are found at one address, by either name."""
    return f"{address} {' '.join([*nodes, *map(host_name, nodes)])}\n"


@dataclass
class Slurm:
    """A running cluster. Commands run with its SLURM_CONF; names of nodes are NODES."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(
        self, words: Sequence[str], cwd: Path | None = None, timeout: float = 60, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Any command, as a user of the cluster would call it; more: added to its environment."""
        return subprocess.run(
            words,
            cwd=cwd or self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def good(self, words: Sequence[str], cwd: Path | None = None) -> str:
        """Standard output of a command that must work."""
        done = self.run(words, cwd)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.log('slurmctld')}"
        return done.stdout

    def sbatch(self, *words: str, cwd: Path | None = None) -> str:
        """Submit; the job's id."""
        return self.good(["sbatch", "--parsable", *words], cwd=cwd).strip().partition(";")[0]

    def squeue(self, *words: str) -> str:
        """Of jobs in all states."""
        return self.good(["squeue", "--noheader", "--states=all", *words])

    def scontrol(self, *words: str) -> str:
        """As on the command line."""
        return self.good(["scontrol", *words])

    def sacct(self, *words: str) -> subprocess.CompletedProcess[str]:
        """This cluster keeps no accounts: what users of such a site get."""
        return self.run(["sacct", *words])

    def state(self, job: str) -> str:
        """State of a job (ID or ID_INDEX), as squeue has it."""
        return self.squeue("--jobs", job, "--format=%T").split("\n")[0].strip()

    def wait(self, job: str, *states: str, seconds: float = 60) -> str:
        """Until the job is in one of the states (none given: until it has ended); the state."""
        wanted = states or ENDED
        self.until(lambda: self.state(job) in wanted, f"job {job} to be {wanted}", seconds)
        return self.state(job)

    def until(self, condition: Callable[[], bool], what: str = "a condition", seconds: float = 60) -> None:
        """Wait for a condition; AssertionError with the cluster's words after `seconds`."""
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit, (
                f"waited {seconds} s for {what}\n{self.squeue()}\n{self.log('slurmctld')}"
            )
            time.sleep(0.2)

    def on(
        self, node: str, words: Sequence[str], timeout: float = 60, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """A command in a node's namespaces. What it mounts there, jobs on this node see; no other does."""
        inside = ["nsenter", f"--target={self._init(node)}", "--mount", "--uts", "--pid", "--", *words]
        return self.run(inside, None, timeout, **more)

    def crash(self, node: str) -> None:
        """The node and all that runs on it is gone at once; the cluster is told, which else takes it 25 s."""
        self._end(f"slurmd.{node}", signal.SIGKILL)
        self.scontrol("update", f"nodename={node}", "state=down", "reason=crashed")

    def drain(self, node: str) -> None:
        """No new jobs for the node."""
        self.scontrol("update", f"nodename={node}", "state=drain", "reason=test")

    def resume(self, node: str) -> None:
        """The node takes jobs again; started anew where it had crashed."""
        if f"slurmd.{node}" not in self.daemons:
            self.start_node(node)
        self.scontrol("update", f"nodename={node}", "state=resume")
        self.until(
            lambda: self.idle() > 0 and self._node_state(node) in ("idle", "mixed"), f"{node} to be back"
        )

    def idle(self) -> int:
        """Nodes that wait for work."""
        return sum("idle" in line for line in self.good(["sinfo", "-N", "-h", "-o", "%T"]).splitlines())

    def log(self, daemon: str) -> str:
        """The end of the log of `slurmctld`, `munged` or `slurmd.n1`."""
        path = self.folder / "log" / f"{daemon}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def start_node(self, node: str) -> None:
        """Start one slurmd in namespaces of its own."""
        (self.folder / "spool" / node).mkdir(parents=True, exist_ok=True)
        own = ["unshare", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        script = ["sh", "-c", _NODE, "sh", node, str(self.folder / "hosts"), host_name(node)]
        self.start(f"slurmd.{node}", [*own, *script])

    def start(self, name: str, words: Sequence[str]) -> None:
        """Start a daemon that dies with this process."""
        with (self.folder / "log" / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *words],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        """End all daemons, jobs first."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run(["scancel", "--signal=KILL", "--user=root"], timeout=10)
        for name in [name for name in self.daemons if name.startswith("slurmd")]:
            self._end(name, signal.SIGKILL)
        for name in list(self.daemons):
            self._end(name, signal.SIGTERM)

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self.daemons.pop(name)
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _init(self, node: str) -> int:
        """The first process of the node's namespaces: the child of its unshare."""
        parent = self.daemons[f"slurmd.{node}"].pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])

    def _node_state(self, node: str) -> str:
        return self.good(["sinfo", "-n", node, "-h", "-o", "%T"]).strip()


@contextlib.contextmanager
def running(folder: Path, nodes: Sequence[str] = NODES, conf: str = "") -> Iterator[Slurm]:
    """A cluster below a folder. conf: further lines of slurm.conf. Raises AssertionError where it does not start."""
    assert not lacking(), f"a Slurm cluster needs {', '.join(lacking())}"
    folder = folder / "slurm"
    for name in ("munge", "state", "spool", "run", "log", "dev"):
        (folder / name).mkdir(parents=True)
    port = _free_ports(len(nodes) + 1)
    slurm = Slurm(folder, _environment(folder))
    _write_configuration(folder, nodes, port, conf)
    try:
        munge = folder / "munge"
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "seed", "log")]
        slurm.start("munged", ["munged", "--foreground", "--force", f"--socket={munge / 'socket'}", *files])
        _wait_for(lambda: (munge / "socket").exists(), slurm, "munged")
        slurm.start("slurmctld", ["slurmctld", "-D", "-c"])
        for node in nodes:
            slurm.start_node(node)
        _wait_for(lambda: _all_idle(slurm, len(nodes)), slurm, "slurmctld")
        yield slurm
    finally:
        slurm.stop()


def _write_configuration(folder: Path, nodes: Sequence[str], port: int, more: str) -> None:
    text = _CONF.format(
        folder=folder,
        port=port,
        nodes=",".join(nodes),
        ports=f"[{port + 1}-{port + len(nodes)}]",
        devices=DEVICES,
        # clusters beside each other share this machine's ports, and a job's follow from its number
        first_job=1 + os.getpid() % 900 * 10,
    )
    (folder / "slurm.conf").write_text(text + more)
    devices = [folder / "dev" / f"nvidia{number}" for number in range(DEVICES)]
    for device in devices:  # Slurm asks for device files; these are /dev/null by another name
        os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
    gres = f"AutoDetect=off\nNodeName={','.join(nodes)} Name=gpu File={folder}/dev/nvidia[0-{DEVICES - 1}]\n"
    (folder / "gres.conf").write_text(gres)
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts('127.0.0.1', nodes)}")
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    (folder / "munge").chmod(0o755)


def _environment(folder: Path) -> dict[str, str]:
    """Of daemons and users: nothing of a job or a cluster around the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SRUN", "SQUEUE"))}
    return {**kept, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _all_idle(slurm: Slurm, nodes: int) -> bool:
    done = slurm.run(["sinfo", "-N", "-h", "-o", "%T"])
    return done.returncode == 0 and done.stdout.split() == ["idle"] * nodes


def _wait_for(condition: Callable[[], bool], slurm: Slurm, daemon: str, seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        dead = [name for name, process in slurm.daemons.items() if process.poll() is not None]
        assert time.monotonic() < limit and not dead, f"{dead or daemon}: {_words(slurm)}"
        time.sleep(0.1)


def _words(slurm: Slurm) -> str:
    files = sorted((slurm.folder / "log").iterdir())
    return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in files)


def _free_ports(count: int) -> int:
    """The first of `count` free ports in a row, below those of jobs and those that the kernel hands out."""
    first = 17000 + os.getpid() % 300 * 10
    for start in [*range(first, 20000 - count, 10), *range(17000, first, 10)]:
        with contextlib.ExitStack() as stack:
            try:
                for port in range(start, start + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return start
            except OSError:
                continue
    raise AssertionError("no free ports")
