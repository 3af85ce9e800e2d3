"""A signal at any moment: before the ranks, while they wait for others, when all is done. In between: tests/faults."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from processes import gone, handles, output_of, ranks_of, started, steps_done, wait_until
from slipway.ranks.environment import listening_socket
from training import SMALL, layout

pytestmark = pytest.mark.faults

ONE = ["model.num_layers=1", *layout(ranks=1)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_before_anything_is_begun_it_ends_the_command(number: signal.Signals, tmp_path: Path) -> None:
    with started([*SMALL, *ONE, f"run.dir={tmp_path / 'run'}"], tmp_path, cold=True) as process:
        wait_until(lambda: handles(process, number), process)
        process.send_signal(number)
        output = output_of(process, tmp_path)
    assert process.returncode == 75, output
    assert output.splitlines() == [line for line in output.splitlines() if number.name in line]
    assert len(output.splitlines()) == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
def test_who_waits_for_node_0_stops_waiting(number: signal.Signals) -> None:
    program = (
        "import sys\n"
        "from slipway.errors import Stopped\n"
        "from slipway.ranks import rendezvous, signals\n"
        "from slipway.ranks.environment import Node\n"
        "signals.begin()\n"
        "try: rendezvous.meet(Node(1, 2, 'localhost', int(sys.argv[1])))\n"
        "except Stopped as error: sys.exit(str(error))\n"
    )
    with listening_socket() as sock:
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and "waiting for node 0" in process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert number.name in errors and "Traceback" not in errors


def test_ranks_that_wait_for_a_silent_node_0_stop_waiting(corpus: list[str], tmp_path: Path) -> None:
    """It accepts and says nothing: the ranks wait in C, where no handler of Python's runs."""
    words = [*SMALL, *corpus, "model.num_layers=1", *layout(ranks=2), "resources.nodes=2"]
    connections: list[socket.socket] = []

    def accept(sock: socket.socket) -> None:
        while True:
            try:
                connections.append(sock.accept()[0])
            except OSError:
                return

    with listening_socket() as sock:
        threading.Thread(target=accept, args=(sock,), daemon=True).start()
        place = {"SLIPWAY_NODE_RANK": "1", "SLIPWAY_NNODES": "2", "MASTER_ADDR": "127.0.0.1"}
        environment = {**os.environ, **place, "MASTER_PORT": str(sock.getsockname()[1])}
        words[words.index("resources.devices_per_node=2")] = "resources.devices_per_node=1"
        with started([*words, f"run.dir={tmp_path / 'run'}"], tmp_path, env=environment) as process:
            wait_until(lambda: len(connections) >= 2, process)  # the node looked; now its rank
            ranks = ranks_of(process)
            process.send_signal(signal.SIGTERM)
            asked = time.monotonic()
            output = output_of(process, tmp_path)
        assert process.returncode == 75, output
        assert time.monotonic() - asked < 30  # not the 30 minutes that ranks wait for each other
        assert len(ranks) == 1 and all(gone(rank) for rank in ranks)
        assert "SIGTERM" in output and "Traceback" not in output


@pytest.mark.parametrize("launched", [False, True], ids=["the command's own ranks", "a launcher's rank"])
def test_one_that_comes_again_and_again_until_the_end(
    corpus: list[str], tmp_path: Path, launched: bool
) -> None:
    with listening_socket() as sock:
        port = str(sock.getsockname()[1])
    place = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    environment = {**os.environ, **(place if launched else {})}
    words = [*SMALL, *corpus, *ONE, f"run.dir={tmp_path / 'run'}", "training.steps=100000"]
    with started(words, tmp_path, cold=True, env=environment) as process:
        wait_until(lambda: handles(process, signal.SIGUSR1), process)
        while process.poll() is None:
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.002)
        output = output_of(process, tmp_path)
    assert process.returncode == 75, output
    assert steps_done(tmp_path / "run") == 1 and "Traceback" not in output


def test_what_nohup_ignores_is_ignored(corpus: list[str], tmp_path: Path) -> None:
    words = [*SMALL, *corpus, *ONE, f"run.dir={tmp_path / 'run'}", "training.steps=3"]

    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with started(words, tmp_path, preexec_fn=nohup, start_new_session=True) as process:
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGHUP)  # as a terminal that closes
            time.sleep(0.05)
        output = output_of(process, tmp_path)
    assert process.returncode == 0, output
    assert steps_done(tmp_path / "run") == 3
