"""Real connections and real files between a rank 0 and others, which are threads here."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.doctor.job import exchange


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def with_members(members: list[Callable[[int], None]], lead: Callable) -> exchange.Lead:
    port, threads, failed = free_port(), [], []

    def noted(member: Callable[[int], None], port: int) -> None:
        try:
            member(port)
        except BaseException as error:
            failed.append(error)

    async def play() -> exchange.Lead:
        hub = exchange.Lead(("mark", "word"))
        await hub.listen(port)
        threads.extend(threading.Thread(target=noted, args=(member, port)) for member in members)
        for thread in threads:
            thread.start()
        await asyncio.wait_for(lead(hub), 20)
        return hub

    hub = asyncio.run(play())
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not failed
    return hub


def test_a_thousand_ranks_at_once() -> None:
    async def member(port: int, rank: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for message in ({"rank": rank}, {"rank": rank, "text": "x" * 1000}):
            writer.write(json.dumps(message).encode() + b"\n")
            answer = json.loads(await reader.readline())
        assert answer == {"collectives": rank}
        code = json.loads(await reader.readline())["exit_code"]
        writer.close()
        return code

    async def play(port: int) -> list[int]:
        hub = exchange.Lead(None)
        await hub.listen(port)
        members = asyncio.gather(*(member(port, rank) for rank in range(1000)))
        await until(lambda: len(hub.reports) == 1000)
        hub.decide(lambda rank: {"collectives": rank})
        await hub.close({"exit_code": 7})
        return await members

    assert asyncio.run(asyncio.wait_for(play(free_port()), 60)) == [7] * 1000


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_report_decision_result_verdict() -> None:
    heard: dict[int, list] = {}

    def member(rank: int) -> Callable[[int], None]:
        def speak(port: int) -> None:
            rank0 = exchange.Member("127.0.0.1", port, 10)
            hello = rank0.ask({"rank": rank}, 10)
            decision = rank0.ask({"rank": rank, "text": "x" * 300_000}, 10)
            rank0.say({"seconds": rank})
            heard[rank] = [hello["mark"], decision, rank0.hear(10)]
            rank0.close()

        return speak

    async def lead(hub: exchange.Lead) -> None:
        await until(lambda: len(hub.reports) == 3)
        hub.decide(lambda rank: {"collectives": rank})
        await until(lambda: len(hub.results) == 3)
        await hub.close({"exit_code": 1})

    hub = with_members([member(rank) for rank in (1, 2, 3)], lead)
    assert {rank: report["rank"] for rank, report in hub.reports.items()} == {1: 1, 2: 2, 3: 3}
    assert heard[2] == [["mark", "word"], {"collectives": 2}, {"exit_code": 1}]


def test_a_verdict_that_comes_before_the_result() -> None:
    def member(port: int) -> None:
        rank0 = exchange.Member("127.0.0.1", port, 10)
        rank0.ask({"rank": 1}, 10)
        rank0.ask({"rank": 1}, 10)
        while not rank0.speaks():
            time.sleep(0.01)
        assert rank0.hear(10) == {"exit_code": 1}

    async def lead(hub: exchange.Lead) -> None:
        await until(lambda: 1 in hub.reports)
        hub.decide(lambda rank: {"collectives": rank})
        await hub.close({"exit_code": 1})

    assert with_members([member], lead).results == {}


@pytest.mark.parametrize(
    "words", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"rank": "x"}\n', b'{"rank": 1}\n']
)
def test_strangers_and_those_who_go_away(words: bytes) -> None:
    def stranger(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(words)

    async def lead(hub: exchange.Lead) -> None:
        await asyncio.sleep(0.2)
        await hub.close({"exit_code": 0})

    assert with_members([stranger], lead).reports == {}


def test_nobody_answers() -> None:
    begin = time.monotonic()
    with pytest.raises(exchange.PeerLost, match="Connection refused"):
        exchange.Member("127.0.0.1", free_port(), 0.5)
    assert time.monotonic() - begin < 5
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        member = exchange.Member("127.0.0.1", silent.getsockname()[1], 5)
        with pytest.raises(exchange.PeerLost, match="says nothing for"):
            member.ask({"rank": 1}, 0.3)


def test_words_left_as_files(tmp_path: Path) -> None:
    path = exchange.write_report(tmp_path / "run", {"rank": 3, "started": 100.0})
    exchange.write_report(tmp_path / "run", {"rank": 4, "started": 10.0})
    assert path is not None and exchange.write_report(Path("/proc/run"), {"rank": 3}) is None
    (path.parent / "5.json").write_text("{")
    assert exchange.words_left(tmp_path / "run", since=50.0) == {3: {"rank": 3, "started": 100.0}}
    begin = time.monotonic()
    exchange.wait_until_read(path, 0.3)
    assert 0.2 < time.monotonic() - begin < 5
    exchange.forget_words(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    exchange.wait_until_read(path, 30)


def test_the_port() -> None:
    assert exchange.port_of({}, 29500) == 29500
    assert exchange.port_of({"TORCHELASTIC_RUN_ID": "none"}, 29500) == 29501
