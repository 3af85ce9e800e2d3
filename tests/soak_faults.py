"""What the soak does to a run: kills, signals, pauses, failing file systems, power cuts; chosen by a seeded die."""

import contextlib
import errno
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from faulty_files import Rule

LONGEST_WAIT = 2.5  # seconds after its first step within which a start is disturbed
Act = Callable[[list[psutil.Process]], None]


@dataclass(frozen=True)
class Disturbance:
    """One thing that happens to one start of a run."""

    kind: str
    """For the table."""
    rules: list[Rule] = field(default_factory=list)
    """Faults of the file system, from the first call on."""
    act: Act | None = None
    """What is done to its processes, the command first; then the ranks."""
    in_save: bool = False
    """Not at any moment, but while a checkpoint is written."""
    after: float = 0.0
    """Seconds from the first step, or from the begin of the save, to the act."""
    power_cut: bool = False


def draw(dice: random.Random, run_dir: Path, power: bool) -> Disturbance:
    """The next one. power: power cuts are possible here."""
    in_save = dice.random() < 0.5
    after = dice.uniform(0, 0.06) if in_save else dice.uniform(0, LONGEST_WAIT)
    where = " in a save" if in_save else ""
    roll = dice.random()
    if roll < 0.40:
        kind, act = dice.choice(_KILLS)(dice)
        return Disturbance(f"{kind}{where}", act=act, in_save=in_save, after=after)
    if roll < 0.50:
        number = dice.choice((signal.SIGTERM, signal.SIGUSR1))
        return Disturbance(f"{number.name}{where}", act=_signal(number), in_save=in_save, after=after)
    if roll < 0.55:
        return Disturbance(f"paused{where}", act=_pause(dice.uniform(0.5, 2)), in_save=in_save, after=after)
    if roll < 0.65 and power:
        return Disturbance(f"power cut{where}", in_save=in_save, after=after, power_cut=True)
    return _file_fault(dice, run_dir)


def _kill_one(dice: random.Random) -> tuple[str, Act]:
    victim = dice.random()
    return "kill -9 of one rank", lambda all_: _kill(all_[1:][int(victim * (len(all_) - 1))])


def _kill_all(dice: random.Random) -> tuple[str, Act]:
    seed = dice.random()

    def act(processes: list[psutil.Process]) -> None:
        shuffled = list(processes)
        random.Random(seed).shuffle(shuffled)
        for process in shuffled:
            _kill(process)

    return "kill -9 of all, in any order", act


def _kill_command(dice: random.Random) -> tuple[str, Act]:
    return "kill -9 of the command", lambda processes: _kill(processes[0])


_KILLS = (_kill_one, _kill_all, _kill_command)


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _signal(number: signal.Signals) -> Act:
    def act(processes: list[psutil.Process]) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            processes[0].send_signal(number)

    return act


def _pause(seconds: float) -> Act:
    def act(processes: list[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(seconds)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    return act


_TRUTH = ("checkpoints/*", "metrics.jsonl", "segments/*", "plan.json")
# operation, patterns below run.dir, errors: what full, failing and networked file systems do
_FAILING = (
    ("write", _TRUTH, (errno.ENOSPC, errno.EIO, errno.EDQUOT)),
    ("fsync", ("checkpoints/*", "metrics.jsonl"), (errno.EIO, errno.ENOSPC)),
    ("open", _TRUTH, (errno.EACCES, errno.ESTALE, errno.EMFILE, errno.EIO)),
    ("read", ("checkpoints/*", "metrics.jsonl", "segments/*"), (errno.EIO, errno.ESTALE)),
    ("rename", ("checkpoints/*", "*"), (errno.EIO, errno.ESTALE)),
    ("unlink,rmdir", ("checkpoints/*",), (errno.EBUSY, errno.EACCES, errno.ENOTEMPTY)),
    ("mkdir", ("checkpoints/*",), (errno.ENOSPC, errno.EACCES)),
    ("stat", ("checkpoints/*",), (errno.ESTALE, errno.EIO)),
    ("list", ("checkpoints",), (errno.ESTALE, errno.EACCES)),
)
_DEADLY = ("open", "write", "fsync", "rename", "unlink,rmdir", "close")


def _file_fault(dice: random.Random, run_dir: Path) -> Disturbance:
    roll = dice.random()
    if roll < 0.35:  # killed within a call
        operation = dice.choice(_DEADLY)
        rule = Rule(operation, f"{run_dir}/checkpoints/*", kill=True, nth=dice.randint(1, 40))
        return Disturbance(f"kill -9 at {operation}", [rule])
    if roll < 0.45:
        operation = dice.choice(("write", "fsync", "open"))
        rule = Rule(
            operation, f"{run_dir}/*", delay=dice.uniform(0.01, 0.2), nth=dice.randint(1, 40), times=20
        )
        return Disturbance("slow file system", [rule])
    operation, patterns, errors = dice.choice(_FAILING)
    error = dice.choice(errors)
    times = dice.choice((1, 3, None))
    rule = Rule(operation, f"{run_dir}/{dice.choice(patterns)}", error, nth=dice.randint(1, 30), times=times)
    return Disturbance(f"{operation}: {errno.errorcode[error]}", [rule])
