"""The process behind warm.py: imports what is slow once, and forks a Python program for each request.

Of slipway only the adapter is imported that makes Megatron-core run on CPU, and the schema, which is classes alone:
all else the programs import themselves, as they would in a new interpreter, and what they remember of their start is
their own.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import types
import warnings
from typing import Any, NoReturn

SLOW = [
    *("numpy", "psutil", "yaml", "hydra", "hydra._internal.hydra", "pydantic", "jinja2", "tokenizers"),
    *(
        "megatron.core.datasets.indexed_dataset",
        "megatron.core.dist_checkpointing",
        "megatron.core.optimizer",
    ),
    *("megatron.core.distributed", "megatron.core.models.gpt", "megatron.core.pipeline_parallel"),
]
WAITING, RUNNING = b"warm-server-waits", b"warm-server-child"  # the last word of the command line
HEADER = struct.Struct("!I")


def load() -> None:
    """Import what is slow; a name that a package no longer has costs time, not tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from slipway.engine.megatron import cpu_adapter

        cpu_adapter.install()
        for name in SLOW:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    known = sorted(name for name in sys.modules if name.startswith("slipway."))
    assert all(name.startswith("slipway.engine") for name in known), known
    importlib.import_module("slipway.config.schema")
    gc.collect()
    gc.freeze()


def serve(requests: socket.socket) -> None:
    """Fork a child for each request and report how each ended, until the client is gone."""
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    verdicts: dict[int, int] = {}  # child: where to write how it ended
    while True:
        ready = select.select([requests, ear], [], [])[0]
        if ear in ready:
            os.read(ear, 512)
            report(verdicts)
        if requests not in ready:
            continue
        header, fds, *_ = socket.recv_fds(requests, HEADER.size, 4)
        if not header:
            break
        request = json.loads(receive(requests, HEADER.unpack(header)[0]))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (ear, mouth, fds[3], *verdicts.values()):
                os.close(fd)
            requests.close()
            become(request, fds[:3])
        for fd in fds[:3]:
            os.close(fd)
        verdicts[pid] = fds[3]
        requests.sendall(HEADER.pack(pid))
    for pid in verdicts:
        os.kill(pid, signal.SIGKILL)


def receive(requests: socket.socket, size: int) -> bytes:
    """So many bytes."""
    text = b""
    while len(text) < size:
        text += requests.recv(size - len(text))
    return text


def report(verdicts: dict[int, int]) -> None:
    """Tell of the children that have ended."""
    for pid in list(verdicts):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            os.write(verdicts[pid], HEADER.pack(status))
            os.close(verdicts.pop(pid))


def become(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Run the request's words as `python WORDS` would."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    rename()
    # not closed, whatever the program puts in their place
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    code = 0
    try:
        execute(request["words"], request["cwd"])
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    # as an interpreter ends, without taking torch apart piece by piece
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def execute(words: list[str], folder: str) -> None:
    """As the interpreter: -m MODULE, -c PROGRAM or FILE."""
    first, *rest = words
    if first == "-m":
        sys.argv, sys.path[0] = rest, folder
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv, sys.path[0] = [first, *rest], os.path.dirname(os.path.abspath(first))
        runpy.run_path(first, run_name="__main__")


def rename() -> None:
    """Change the command line that others see: a child is no rank of the server's."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        end = int(file.read().rpartition(")")[2].split()[46])
    start = end - len(WAITING) - 1
    assert ctypes.string_at(start, len(WAITING)) == WAITING
    ctypes.memmove(start, RUNNING, len(RUNNING))


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # as for every run on CPU
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # OpenMP reads it when torch is imported
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
