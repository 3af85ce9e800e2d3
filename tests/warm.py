"""Python programs that start warm: forked from a process that has imported torch and Megatron-core once.

`Popen` and `run` take the place of subprocess's for a command `[sys.executable, ...]`. What they start is a process
of its own, with its own folder, environment, streams and signals; it imports slipway itself. Only the seconds of
processor time that importing torch takes at every start are gone. Tests of the start itself start cold, and so does
what asks the linker, the interpreter or OpenMP for something in its environment: they listen only at a start.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from warm_server import HEADER, WAITING, receive

AT_START = ("LD_", "PYTHON", "OMP_", "GOMP_", "MALLOC_")  # beginnings of variables that are read only then


def _asked(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


_OWN = _asked(os.environ)  # before a test changes it: what the server listened to
_server: socket.socket | None = None


def _connection() -> socket.socket:
    """This process's server, started when it is first needed; it ends when this process does."""
    global _server
    if _server is None:
        _server, theirs = socket.socketpair()
        program = Path(__file__).with_name("warm_server.py")
        command = [sys.executable, str(program), str(theirs.fileno()), WAITING.decode()]
        server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        atexit.register(server.wait)
        atexit.register(_server.close)
    return _server


@contextlib.contextmanager
def afresh() -> Iterator[None]:
    """What starts warm within comes from a server of its own, whose start has listened to the environment of now."""
    global _server, _OWN
    kept = _server, _OWN
    _server, _OWN = None, _asked(os.environ)
    try:
        yield
    finally:
        if _server is not None:
            _server.close()
        _server, _OWN = kept


class Popen(subprocess.Popen):
    """subprocess.Popen, but the child is forked from the warm server, which says how it ended."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest) -> None:  # noqa: ANN001
        (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite) = rest[3:9]
        assert args[0] == sys.executable and not (executable or preexec_fn or pass_fds)
        server = _connection()
        verdict, theirs = os.pipe()
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        request = {
            "words": [os.fspath(word) for word in args[1:]],
            "cwd": os.path.abspath(cwd or "."),
            "env": dict(os.environ if env is None else env),
            "session": rest[13],
        }
        text = json.dumps(request).encode()
        socket.send_fds(server, [HEADER.pack(len(text))], [*streams, theirs])
        server.sendall(text)
        self.pid = HEADER.unpack(receive(server, HEADER.size))[0]
        self._verdict, self._child_created = verdict, True
        os.close(theirs)
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._verdict is None:
            return self.pid, 0
        if not select.select([self._verdict], [], [], 0 if wait_flags & os.WNOHANG else None)[0]:
            return 0, 0
        text = os.read(self._verdict, HEADER.size)
        os.close(self._verdict)
        self._verdict = None
        return self.pid, HEADER.unpack(text)[0] if text else signal.SIGKILL

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid == self.pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def start(command: Sequence[Any], env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen:
    """Start it warm where that makes no difference, else cold."""
    cold = _asked(os.environ if env is None else env) != _OWN or {"preexec_fn", "pass_fds"} & options.keys()
    return (subprocess.Popen if cold else Popen)(command, env=env, **options)


def run(
    command: Sequence[Any],
    *,
    input: str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """subprocess.run, warm."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options.setdefault("stdin", None if input is None else subprocess.PIPE)
    with start(command, text=True, **options) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
