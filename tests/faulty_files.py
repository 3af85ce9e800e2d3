"""A file system that fails, hesitates or kills at chosen calls, laid under any process: rules, and how to apply them.

A small C library (faulty_files.c, compiled when it is first needed) is preloaded into a process and all its children.
It stands before the C library's file calls, so Python, torch and Megatron-core meet the faults alike.

    rules = [Rule("fsync", "*/metrics.jsonl", EIO), Rule("write", "*/checkpoints/*", kill=True, nth=7)]
    subprocess.run(command, env={**os.environ, **faulty(rules, log=tmp_path / "faults")})
"""

import errno
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
OPERATIONS = (
    "open", "read", "write", "fsync", "close", "rename", "unlink",
    "mkdir", "rmdir", "stat", "list", "truncate", "link",
)  # fmt: skip
NO_END = 2**62


@dataclass(frozen=True)
class Rule:
    """What happens at calls of an operation on paths that match a pattern (fnmatch; `*` takes slashes, too)."""

    operation: str
    """One of OPERATIONS, or several with a comma."""
    pattern: str
    """Of the absolute path; for rename the old one."""
    error: int = 0
    """The errno with which the call fails; 0: it does not."""
    delay: float = 0.0
    """Seconds to wait before the call."""
    kill: bool = False
    """End the calling process by SIGKILL."""
    stop: bool = False
    """Stop the calling process by SIGSTOP."""
    nth: int = 1
    """The first matching call that is meant, from 1 on."""
    times: int | None = None
    """How many from there on; None: one where the process is killed or stopped, else all."""

    def line(self) -> str:
        """As the library reads it."""
        bits = sum(1 << OPERATIONS.index(name) for name in self.operation.split(","))
        number = signal.SIGKILL if self.kill else signal.SIGSTOP if self.stop else 0
        times = 1 if self.times is None and number else self.times
        last = NO_END if times is None else self.nth + times - 1
        return f"{bits} {self.nth} {last} {self.error} {int(number)} {self.delay} {self.pattern}"


def faulty(rules: Sequence[Rule], log: Path | None = None, counts: Path | None = None) -> dict[str, str]:
    """Environment variables that lay the rules under a process and its children.

    log: where each fault is noted as it strikes (see struck). counts: a file in which all processes count their calls
    together; without it each process counts its own (a forked one goes on from its parent's count). Skips the test
    where no C compiler is.
    """
    assert all("\n" not in rule.pattern for rule in rules)
    environment = {"LD_PRELOAD": str(library()), "FAULTY_FILES": "\n".join(rule.line() for rule in rules)}
    if log is not None:
        environment["FAULTY_FILES_LOG"] = str(log)
    if counts is not None:
        environment["FAULTY_FILES_STATE"] = str(counts)
    return environment


@dataclass(frozen=True)
class Struck:
    """A fault that happened."""

    pid: int
    operation: str
    error: str
    """Its name; KILL or STOP where that was it."""
    path: str


def struck(log: Path) -> list[Struck]:
    """The faults that a log holds, in their order."""
    found = []
    for line in log.read_text().splitlines() if log.exists() else []:
        pid, operation, number, sent, _, path = line.split(" ", 5)
        what = signal.Signals(int(sent)).name[3:] if int(sent) else errno.errorcode.get(int(number), "delay")
        found.append(Struck(int(pid), operation, what, path))
    return found


@functools.cache
def library() -> Path:
    """The compiled library; made once for each state of its source."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine: faults of the file system are not injected")
    source = SOURCE.read_bytes()
    name = f"slipway-faulty-files-{hashlib.sha256(source).hexdigest()[:16]}-{sysconfig.get_platform()}.so"
    built = Path(tempfile.gettempdir()) / name
    if not built.exists():
        beside = built.with_name(f"{built.name}.{os.getpid()}")
        subprocess.run(
            [compiler, "-O1", "-shared", "-fPIC", "-o", str(beside), str(SOURCE), "-ldl"],
            check=True,
            timeout=60,
        )
        beside.replace(built)
    return built
