"""The meeting of a run's nodes before any rank exists. Imports no torch.

Pods start in any order: the name of node 0 may not resolve yet, and nobody may listen there yet. That is normal for
seconds, or for as long as a queue takes, so it is waited for and reported, and given up after a limit.
"""

import socket
import time
from dataclasses import dataclass
from datetime import timedelta

from slipway.errors import Fault
from slipway.ranks import signals
from slipway.ranks.environment import Node, listening_socket

LIMIT_SECONDS = 1800.0  # for nodes to find node 0, then for ranks to join their groups
PAUSE_SECONDS = 1.0
WORD_SECONDS = 15.0  # between two lines for people
CONNECT_SECONDS = 10.0
COLLECTIVE_TIMEOUT = timedelta(days=7)
"""Timeout of a collective after all have met. The watch ends a run that hangs, and knows if all were suspended."""
BACKLOG = 4096  # connections that wait until rank 0 serves its store; the kernel may allow fewer


@dataclass(frozen=True)
class Endpoint:
    """The address of the ranks' store. listener: its socket, on node 0 only."""

    host: str
    port: int
    listener: socket.socket | None


def meet(node: Node | None, limit: float = LIMIT_SECONDS) -> Endpoint:
    """Find node 0, or be it, and return the address of the store.

    A run on one machine meets on a loopback port that no other process can take. Raises Fault if node 0 cannot be
    reached within `limit` seconds, or cannot listen, and Stopped after a signal.
    """
    if node is None or node.nodes == 1:
        listener = listening_socket()
        return Endpoint("127.0.0.1", listener.getsockname()[1], listener)
    listener = _listen(node) if node.leads else None
    try:
        wait_for(node, limit)
    except BaseException:
        if listener:
            listener.close()
        raise
    return Endpoint(node.master_addr, node.master_port, listener)


def wait_for(node: Node, limit: float) -> None:
    """Return when node 0's name resolves and its port answers.

    Raises Fault after `limit` seconds, Stopped after a signal.
    """
    started = said = time.monotonic()
    where = f"{node.master_addr}:{node.master_port}"
    while True:
        why = _unreachable(node.master_addr, node.master_port)
        waited = time.monotonic() - started
        if why is None:
            if said > started:
                print(f"node {node.node_rank}: reached node 0 at {where} after {waited:.0f} s", flush=True)
            return
        signals.check()  # there is nothing to save yet
        if waited >= limit:
            raise Fault(
                f"node {node.node_rank} of {node.nodes}",
                f"found no node 0 at {where} within {limit:.0f} s: {why}",
                do="check that node 0 runs, and that the name (a headless Service) and the port are right",
            )
        if time.monotonic() - said >= WORD_SECONDS or said == started:
            print(f"node {node.node_rank}: waiting for node 0 at {where} ({waited:.0f} s): {why}", flush=True)
            said = time.monotonic()
        time.sleep(min(PAUSE_SECONDS, max(0.0, limit - waited)))


def _listen(node: Node) -> socket.socket:
    """Return node 0's socket, which listens from now on: early connections wait in its queue until rank 0 serves.

    Raises Fault if the port is taken.
    """
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        sock = socket.create_server(
            ("", node.master_port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        raise Fault(
            "MASTER_PORT",
            f"node 0 cannot listen on port {node.master_port}: {error.strerror}",
            do="set MASTER_PORT to a free port on all nodes",
        ) from None
    sock.set_inheritable(True)
    return sock


def _unreachable(host: str, port: int) -> str | None:
    """Return why an address cannot be reached now; None if it answers."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"the name does not resolve ({error.strerror or error})"
    why = ""
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as sock:
                sock.settimeout(CONNECT_SECONDS)
                sock.connect(address)
                return None
        except OSError as error:
            why = f"{address[0]} does not answer ({error.strerror or error})"
    return why
