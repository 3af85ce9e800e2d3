"""Nodes find node 0 although they come early, and say what they looked for when they do not."""

import socket
import threading
import time

import pytest

from refusals import refused
from slipway.errors import Fault
from slipway.ranks import rendezvous
from slipway.ranks.environment import Node, listening_socket


def free_port() -> int:
    with listening_socket() as sock:
        return sock.getsockname()[1]


def test_one_machine_needs_no_name() -> None:
    for node in (None, Node(0, 1, "", 29500)):
        endpoint = rendezvous.meet(node)
        assert endpoint.host == "127.0.0.1" and endpoint.listener
        endpoint.listener.close()


def test_node_0_listens_before_its_ranks_exist() -> None:
    port = free_port()
    first = rendezvous.meet(Node(0, 2, "localhost", port), limit=10)
    assert first.listener
    with first.listener:
        second = rendezvous.meet(Node(1, 2, "localhost", port), limit=10)
    assert (second.host, second.port, second.listener) == ("localhost", port, None)


def test_who_comes_early_waits_until_the_connection_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    found: list[rendezvous.Endpoint] = []
    early = threading.Thread(target=lambda: found.append(rendezvous.meet(Node(1, 2, "localhost", port), 30)))
    early.start()
    time.sleep(0.3)
    first = rendezvous.meet(Node(0, 2, "localhost", port), limit=10)
    early.join(20)
    assert first.listener and found
    first.listener.close()
    said = capsys.readouterr().out
    assert f"node 1: waiting for node 0 at localhost:{port}" in said and "Connection refused" in said
    assert f"node 1: reached node 0 at localhost:{port}" in said


def test_a_name_that_resolves_late(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that of a fresh headless Service."""
    real, asked = socket.getaddrinfo, []

    def late(host: str, port: int, **options: int) -> list:
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", port, **options)

    monkeypatch.setattr(rendezvous, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", late)
    with listening_socket() as sock:
        rendezvous.meet(Node(1, 2, "demo-0.demo", sock.getsockname()[1]), limit=10)
    assert asked == ["demo-0.demo"] * 3
    assert "the name does not resolve (Name or service not known)" in capsys.readouterr().out


def test_the_limit() -> None:
    with refused("node 1 of 2", "nowhere.invalid:29500", "0 s", kind=Fault):
        rendezvous.meet(Node(1, 2, "nowhere.invalid", 29500), limit=0)


def test_a_port_that_is_taken() -> None:
    with listening_socket() as sock, refused("MASTER_PORT", 0, kind=Fault):
        rendezvous.meet(Node(0, 2, "localhost", sock.getsockname()[1]), limit=1)
