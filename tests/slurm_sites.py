"""A Slurm controller that knows a big site: its partitions, nodes, limits, GPUs, accounts and QoS; no node runs.

Enough for `sbatch --test-only`, which says whether the site would take a script. What stands here is written down
apart from the profiles in conf/cluster, so that the two must agree.
"""

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slurm_testbed import Slurm

PORTS = range(16900, 17000)
ACCOUNTS = ("abc", "abcg")
OWN_QOS = "p2025"  # of the account, where a site gives each project its own
ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")


@dataclass(frozen=True)
class Limits:
    """Of a partition or a QoS."""

    nodes: int | None = None
    """Of a job; None: all of the partition."""
    hours: float | None = None
    least: int = 1
    """Nodes of a job."""
    there: int | None = None
    """Nodes of the partition; None: all of the site."""
    qos: tuple[str, ...] = ()
    """QoS a partition takes; none: any."""
    own_qos: str | None = None
    """QoS that limits the partition's jobs which ask for no other."""


@dataclass(frozen=True)
class Site:
    """A site's hardware and queues."""

    nodes: int
    gpus: int
    sockets: int
    cores: int
    """Of a socket."""
    threads: int
    """Of a core."""
    memory_gib: int
    partitions: dict[str, Limits]
    """The first one is the default."""
    qos: dict[str, Limits] = field(default_factory=dict)

    def lines(self, accounting: bool = True) -> list[str]:
        """Of slurm.conf. Nodes are ones of a cloud that are switched off: jobs may be for them."""
        shape = f"Sockets={self.sockets} CoresPerSocket={self.cores} ThreadsPerCore={self.threads}"
        memory = f"RealMemory={self.memory_gib * 1024}"
        lines = [
            f"NodeName=node[1-{self.nodes}] {shape} {memory} Gres=gpu:{self.gpus} State=CLOUD"
            if self.gpus
            else f"NodeName=node[1-{self.nodes}] {shape} {memory} State=CLOUD"
        ]
        for number, (name, limits) in enumerate(self.partitions.items()):
            words = [f"PartitionName={name}", f"Nodes=node[1-{limits.there or self.nodes}]"]
            words += [f"Default={'NO' if number else 'YES'}", f"MinNodes={limits.least}"]
            words += [f"MaxNodes={limits.nodes}"] if limits.nodes else []
            words += [f"MaxTime={round(limits.hours * 60)}"] if limits.hours else []
            words += [f"AllowQos={','.join(limits.qos)}"] if limits.qos and accounting else []
            words += [f"QOS={limits.own_qos}"] if limits.own_qos and accounting else []
            lines.append(" ".join(words))
        return lines


SITES = {
    "juwels_booster": Site(
        936,
        4,
        2,
        24,
        2,
        503,
        {
            "booster": Limits(384, 24),
            "largebooster": Limits(936, 24, least=385),
            "develbooster": Limits(4, 2),
        },
    ),
    "jupiter_booster": Site(5884, 4, 4, 72, 1, 480, {"booster": Limits(hours=12)}),
    "jureca_dc": Site(
        192,
        4,
        2,
        64,
        2,
        503,
        {
            "dc-gpu": Limits(24, 24),
            "dc-gpu-devel": Limits(4, 2),
            "dc-hwai": Limits(16, 24, there=16),
        },
    ),
    "lumi_g": Site(
        2978,
        8,
        1,
        56,
        2,
        480,
        {"standard-g": Limits(1024, 48), "small-g": Limits(4, 72), "dev-g": Limits(32, 3)},
    ),
    "leonardo_booster": Site(
        3456,
        4,
        1,
        32,
        1,
        494,
        {"boost_usr_prod": Limits(own_qos="boost_partition")},
        {
            "boost_partition": Limits(64, 24),
            "boost_qos_dbg": Limits(2, 0.5),
            "boost_qos_bprod": Limits(256, 24, least=65),
            "boost_qos_lprod": Limits(8, 96),
        },
    ),
    "marenostrum5_acc": Site(
        1120,
        4,
        2,
        40,
        1,
        500,
        {"acc": Limits(qos=("acc_ehpc", "acc_debug"))},
        {"acc_ehpc": Limits(100, 72), "acc_debug": Limits(8, 2)},
    ),
    "meluxina_gpu": Site(
        200,
        4,
        2,
        32,
        2,
        490,
        {"gpu": Limits(qos=("default", "large", "short", "test"))},
        {
            "default": Limits(50, 48),
            "large": Limits(140, 24),
            "short": Limits(10, 6),
            "test": Limits(10, 0.5),
        },
    ),
    "karolina_gpu": Site(
        72,
        8,
        2,
        64,
        1,
        1000,
        {
            "qgpu": Limits(16, 48),
            "qgpu_big": Limits(72, 12, least=17),
            "qgpu_exp": Limits(2, 1),
            "qgpu_preempt": Limits(16, 12),
        },
    ),
    "vega_gpu": Site(60, 4, 2, 64, 2, 500, {"gpu": Limits(hours=96), "dev": Limits(2, 0.5)}),
    "deucalion_gpu": Site(
        33,
        4,
        2,
        64,
        1,
        500,
        {
            "normal-a100-40": Limits(4, 48),
            "normal-a100-80": Limits(4, 48),
            "dev-a100-40": Limits(1, 4),
            "dev-a100-80": Limits(1, 4),
        },
    ),
    "discoverer_plus": Site(
        4, 8, 2, 56, 2, 2000, {"common": Limits(hours=4, qos=(OWN_QOS,))}, {OWN_QOS: Limits()}
    ),
    "aris_gpu": Site(3, 4, 2, 64, 1, 500, {"gpu": Limits(hours=48)}),
    "daedalus": Site(16, 4, 4, 72, 1, 480, {"site": Limits(hours=24)}),
    "slurm": Site(8, 4, 2, 32, 2, 500, {"site": Limits(hours=24)}),
}

_CONF = """\
ClusterName=sites
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={port}
SlurmdPort={port}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
EnforcePartLimits=ALL
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=INFINITE
ResumeTimeout=3600
MpiDefault=none
GresTypes=gpu
MailProg=/bin/true
"""

_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
"""

_DBD = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
PidFile={folder}/run/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=root
StorageLoc=slurm
"""


def with_accounting() -> bool:
    """Whether this machine has what accounts and QoS need; without it, Slurm checks neither."""
    return all(shutil.which(program, path=_path()) for program in ACCOUNTING)


@contextlib.contextmanager
def controllers(folder: Path) -> Iterator[Callable[[str], Slurm]]:
    """A function that makes the controller know a site. Accounts and QoS of all sites are set up once."""
    folder = folder / "sites"
    for name in ("munge", "state", "run", "log", "database"):
        (folder / name).mkdir(parents=True)
    (folder / "munge").chmod(0o755)
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o400)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
    slurm = Slurm(folder, {**kept, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")})
    port, dbd, database = _free_ports(3)
    accounting = with_accounting()

    def know(site: str) -> Slurm:
        if "slurmctld" in slurm.daemons:
            slurm._end("slurmctld", signal.SIGKILL)
        shutil.rmtree(folder / "state")
        (folder / "state").mkdir()
        text = _CONF.format(folder=folder, port=port) + (
            _ACCOUNTING.format(folder=folder, port=dbd) if accounting else ""
        )
        (folder / "slurm.conf").write_text("\n".join([text, *SITES[site].lines(accounting), ""]))
        slurm.start("slurmctld", ["slurmctld", "-D", "-c"])
        _wait_for(lambda: slurm.run(["sinfo", "-h"]).stdout.strip() != "", slurm, "slurmctld")
        return slurm

    try:
        munge = folder / "munge"
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "seed", "log")]
        slurm.start("munged", ["munged", "--foreground", "--force", f"--socket={munge / 'socket'}", *files])
        _wait_for(lambda: (munge / "socket").exists(), slurm, "munged")
        if accounting:
            _start_accounting(slurm, folder, dbd, database)
        yield know
    finally:
        slurm.stop()


def _start_accounting(slurm: Slurm, folder: Path, dbd: int, database: int) -> None:
    data = folder / "database"
    made = slurm.run(
        ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db"]
    )
    assert made.returncode == 0, made.stdout + made.stderr
    where = [f"--datadir={data}", f"--socket={folder / 'run' / 'sql'}", f"--port={database}"]
    speed = ["--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite", "--skip-log-bin"]
    alone = ["--bind-address=127.0.0.1", "--skip-grant-tables", "--user=root"]
    slurm.start("mariadbd", ["mariadbd", "--no-defaults", *where, *alone, *speed])
    _wait_for(lambda: _answers(database), slurm, "mariadbd")
    settings = folder / "slurmdbd.conf"
    settings.write_text(_DBD.format(folder=folder, port=dbd, database=database))
    settings.chmod(0o600)
    (folder / "slurm.conf").write_text(
        _CONF.format(folder=folder, port=1)
        + _ACCOUNTING.format(folder=folder, port=dbd)
        + "\n".join(SITES["slurm"].lines())
        + "\n"
    )
    slurm.start("slurmdbd", ["slurmdbd", "-D"])
    _wait_for(lambda: _answers(dbd), slurm, "slurmdbd")
    add = ["sacctmgr", "--immediate", "--quiet", "add"]
    slurm.good([*add, "cluster", "sites"])
    names = {name: limits for site in SITES.values() for name, limits in site.qos.items()}
    for name, limits in names.items():
        slurm.good([*add, "qos", name, *_qos_words(limits)])
    slurm.good([*add, "account", ",".join(ACCOUNTS), "cluster=sites"])
    every = f"qos=normal,{','.join(names)}"
    slurm.good([*add, "user", "root", "cluster=sites", f"account={','.join(ACCOUNTS)}", every])


def _qos_words(limits: Limits) -> list[str]:
    words = ["Flags=DenyOnLimit,OverPartQOS"]
    words += [f"MaxTRESPerJob=node={limits.nodes}"] if limits.nodes else []
    words += [f"MinTRESPerJob=node={limits.least}"] if limits.least > 1 else []
    return words + ([f"MaxWall={round(limits.hours * 60)}"] if limits.hours else [])


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(condition: Callable[[], bool], slurm: Slurm, daemon: str, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        dead = [name for name, process in slurm.daemons.items() if process.poll() is not None]
        assert time.monotonic() < limit and not dead, f"{dead or daemon}: {_words(slurm)}"
        time.sleep(0.05)


def _words(slurm: Slurm) -> str:
    files = sorted((slurm.folder / "log").iterdir())
    return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in files)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        free = []
        for port in PORTS:
            try:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            free.append(port)
            if len(free) == count:
                return free
    raise AssertionError(f"no free ports in {PORTS}")
