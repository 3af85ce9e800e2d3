"""The protocol by which ranks report to rank 0 and receive its decision: lines of JSON over TCP, no torch.

    rank: {"rank": 3}            rank 0: {"time": ..., "mark": [name, word] or null}
    rank: its report             rank 0: the decision, once all have reported or the time is over
    rank: its result             rank 0: the verdict, when all is known (may come before the result)

Every wait has an end. A rank that does not reach rank 0 leaves its report as a file in run.dir.
"""

import asyncio
import contextlib
import json
import select
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipway.files import write_whole

LINE_BYTES = 1 << 22
WORDS = ".doctor-words"


class PeerLost(Exception):
    """Rank 0 does not answer."""


def port_of(environment: Mapping[str, str], master_port: int) -> int:
    """Return rank 0's port: MASTER_PORT, free until training starts; torchrun holds that one, so the next."""
    return master_port + 1 if "TORCHELASTIC_RUN_ID" in environment else master_port


class Lead:
    """The side of rank 0."""

    def __init__(self, mark: tuple[str, str] | None) -> None:
        self.mark = mark
        self.reports: dict[int, dict[str, Any]] = {}
        self.results: dict[int, dict[str, Any]] = {}
        loop = asyncio.get_running_loop()
        self._decision: asyncio.Future[Callable[[int], dict[str, Any]]] = loop.create_future()
        self._verdict: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._open: set[asyncio.Task] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, port: int) -> None:
        """Open the port on all addresses. Raises OSError if it is taken."""
        self._server = await asyncio.start_server(
            self._serve, None, port, backlog=4096, limit=LINE_BYTES, reuse_address=True
        )

    def decide(self, decision: Callable[[int], dict[str, Any]]) -> None:
        """Send the decision to all ranks that have reported. decision: returns what a rank is sent."""
        self._decision.set_result(decision)

    async def close(self, verdict: dict[str, Any]) -> None:
        """Send the verdict to all ranks, and close the connections."""
        if not self._decision.done():
            self.decide(lambda rank: {"collectives": False})
        self._verdict.set_result(verdict)
        if self._open:
            await asyncio.wait(self._open, timeout=5)
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            rank = int((await _line(reader))["rank"])
            await _say(writer, {"time": time.time(), "mark": self.mark})
            self.reports[rank] = await _line(reader)
            await _say(writer, (await asyncio.shield(self._decision))(rank))
            hears = asyncio.ensure_future(self._result(reader, rank))
            verdict = await asyncio.shield(self._verdict)
            hears.cancel()
            await _say(writer, verdict)
        except (OSError, ValueError, KeyError, TypeError, asyncio.IncompleteReadError):
            pass  # rank 0 misses a rank that leaves or does not keep to the protocol
        finally:
            writer.close()
            self._open.discard(task)

    async def _result(self, reader: asyncio.StreamReader, rank: int) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            self.results[rank] = await _line(reader)


async def _line(reader: asyncio.StreamReader) -> dict[str, Any]:
    text = await reader.readuntil(b"\n")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


async def _say(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


class Member:
    """The side of another rank. Raises PeerLost if rank 0 cannot be reached within `seconds`."""

    def __init__(self, address: str, port: int, seconds: float) -> None:
        limit, why = time.monotonic() + seconds, ""
        while True:
            try:
                self._socket = socket.create_connection((address, port), timeout=5)
                break
            except OSError as error:
                why = error.strerror or str(error)
            if time.monotonic() > limit:
                raise PeerLost(f"{address}:{port}: {why}")
            time.sleep(0.2)
        self._rest = b""

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a line and return the answer. Raises PeerLost."""
        self.say(message)
        return self.hear(seconds)

    def say(self, message: dict[str, Any]) -> None:
        """Send a line. Raises PeerLost if rank 0 is gone."""
        try:
            self._socket.settimeout(30)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise PeerLost(f"rank 0 is gone: {error.strerror or error}") from None

    def hear(self, seconds: float) -> dict[str, Any]:
        """Return the next line. Raises PeerLost if none comes within `seconds`, or if rank 0 is gone."""
        limit = time.monotonic() + seconds
        while b"\n" not in self._rest:
            self._socket.settimeout(max(0.05, limit - time.monotonic()))
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                raise PeerLost(f"rank 0 says nothing for {seconds:.0f} s") from None
            except OSError as error:
                raise PeerLost(f"rank 0 is gone: {error.strerror or error}") from None
            if not more:
                raise PeerLost("rank 0 is gone")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\n")
        return json.loads(text)

    def speaks(self) -> bool:
        """Return whether rank 0 has sent something, or has gone."""
        return b"\n" in self._rest or bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def write_report(run_dir: Path, report: dict[str, Any]) -> Path | None:
    """Write a report to a file, for a rank 0 that cannot be reached.

    Return its path; None if it cannot be written either.
    """
    path = run_dir / WORDS / f"{report['rank']}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(report))
    except OSError:
        return None
    return path


def wait_until_read(path: Path, seconds: float) -> None:
    """Wait until rank 0 has removed a file that was left for it, or `seconds` have passed."""
    limit = time.monotonic() + seconds
    while path.exists() and time.monotonic() < limit:
        time.sleep(0.2)


def words_left(run_dir: Path, since: float) -> dict[int, dict[str, Any]]:
    """Return the reports that were left as files since a time (Unix seconds), by rank."""
    found = {}
    for path in (run_dir / WORDS).glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            report = json.loads(path.read_text())
            if report["started"] >= since:
                found[int(report["rank"])] = report
    return found


def forget_words(run_dir: Path) -> None:
    """Remove the reports that were left as files."""
    with contextlib.suppress(OSError):
        for path in (run_dir / WORDS).glob("*.json"):
            path.unlink(missing_ok=True)
        (run_dir / WORDS).rmdir()
