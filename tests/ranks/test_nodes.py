"""One process per node, as pods are, starts its own ranks: two such processes are two nodes of two ranks here."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

import warm
from processes import steps_done
from refusals import check_line
from slipway.config.compose import compose
from slipway.plan import elastic, make_plan, plan_file
from slipway.ranks.environment import listening_socket
from training import SMALL, layout, slipway, training_lines

STEPS = 16  # enough of them left for a signal to come before the end
LAYOUT = layout(ranks=2, tp=2, pp=2)


@pytest.fixture(scope="module")
def plan_json(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nodes") / "plan.json"
    words = [*SMALL, *corpus, *LAYOUT, "resources.nodes=2", f"training.steps={STEPS}", "run.name=nodes"]
    plan_file.write(make_plan(compose(words)), path)
    return path


class Nodes:
    """Processes that are the nodes of one run, in one run folder; killed at the end."""

    def __init__(self, stack: ExitStack, plan_json: Path, folder: Path, *words: str) -> None:
        with listening_socket() as sock:
            port = sock.getsockname()[1]
        self.processes, self.outputs = [], [folder / f"node-{number}.txt" for number in range(2)]
        for number in (1, 0):  # the one that has to wait first
            own = {"SLIPWAY_NODE_RANK": str(number), "SLIPWAY_NNODES": "2", "MASTER_ADDR": "localhost"}
            with self.outputs[number].open("w") as output:
                process = warm.start(
                    [sys.executable, "-m", "slipway", "train", "--plan", str(plan_json), *words],
                    cwd=folder,
                    env={**os.environ, **own, "MASTER_PORT": str(port)},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            stack.callback(process.wait)
            stack.callback(process.kill)
            self.processes.insert(0, process)

    def wait(self, seconds: float = 120) -> list[int]:
        limit = time.monotonic() + seconds
        return [process.wait(max(0.1, limit - time.monotonic())) for process in self.processes]

    def said(self, number: int) -> str:
        return self.outputs[number].read_text()

    def until_step(self, run_dir: Path, step: int) -> None:
        limit = time.monotonic() + 90
        while steps_done(run_dir) < step:
            alive = all(process.poll() is None for process in self.processes)
            assert alive and time.monotonic() < limit, self.said(0) + self.said(1)
            time.sleep(0.05)


@pytest.fixture
def nodes_in(plan_json: Path, tmp_path: Path):  # noqa: ANN201
    with ExitStack() as stack:
        yield lambda *words: Nodes(stack, plan_json, tmp_path, *words)


def losses(run_dir: Path) -> list[tuple[int, float, float]]:
    return [(line["step"], line["loss"], line["grad_norm"]) for line in training_lines(run_dir)]


@pytest.fixture(scope="module")
def undisturbed(
    corpus: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[int, float, float]]:
    """The same run on one node with four ranks."""
    folder = tmp_path_factory.mktemp("one")
    words = [*SMALL, *corpus, *LAYOUT, "resources.devices_per_node=4", f"training.steps={STEPS}"]
    done = slipway("train", *words, "run.dir=one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return losses(folder / "one")


def segments(run_dir: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((run_dir / "segments").glob("*.json"))]


@pytest.mark.faults
def test_stopped_on_one_node_both_end_with_75_and_continue(
    nodes_in, undisturbed: Sequence[tuple[int, float, float]], tmp_path: Path
) -> None:
    run_dir = tmp_path / "runs" / "nodes"
    nodes = nodes_in()
    nodes.until_step(run_dir, 2)
    nodes.processes[1].send_signal(signal.SIGTERM)
    assert nodes.wait() == [75, 75], nodes.said(0) + nodes.said(1)
    done = steps_done(run_dir)
    assert done < STEPS and "stopped cleanly: SIGTERM" in nodes.said(0)
    again = nodes_in()
    assert again.wait() == [0, 0], again.said(0) + again.said(1)
    assert losses(run_dir) == undisturbed
    # what leads is node 0's parent alone: one record per segment; every other rank writes a log of its own
    assert [(segment["first_step"], segment["exit_code"]) for segment in segments(run_dir)] == [
        (1, 75),
        (done + 1, 0),
    ]
    assert sorted(path.name for path in (run_dir / "logs").iterdir()) == ["rank-00001.log", "rank-00003.log"]
    assert again.said(0).count("kernels ") > 0 and again.said(1).count("kernels ") == 0
    assert slipway("runs", "show", str(run_dir), cwd=tmp_path).returncode == 0


@pytest.mark.faults
def test_a_node_that_is_killed_ends_the_other_and_both_go_on(
    nodes_in, undisturbed: Sequence[tuple[int, float, float]], tmp_path: Path
) -> None:
    run_dir = tmp_path / "runs" / "nodes"
    nodes = nodes_in("config.checkpoint.interval=2")
    nodes.until_step(run_dir, 4)
    nodes.processes[1].kill()
    assert nodes.wait() == [1, -signal.SIGKILL], nodes.said(0)
    again = nodes_in("config.checkpoint.interval=2")
    assert again.wait() == [0, 0], again.said(0) + again.said(1)
    assert "continuing from" in again.said(0)
    assert losses(run_dir) == undisturbed
    assert [segment["exit_code"] for segment in segments(run_dir)] == [1, 0]


def test_a_user_error_is_2_on_every_node(nodes_in, plan_json: Path, tmp_path: Path) -> None:
    plan = plan_file.read(plan_json)
    four = make_plan(elastic.on_machines(plan.config, 4, plan.config.resources.devices_per_node))
    nodes = nodes_in(*plan_file.changes(plan, four))
    assert nodes.wait() == [2, 2]
    for number in (0, 1):
        check_line(nodes.said(number), "resources.nodes", 4, 2)
    assert not (tmp_path / "runs").exists()
