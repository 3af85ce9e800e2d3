"""Who is the first suspect, from what ranks have written."""

import json
from pathlib import Path
from typing import Any

import pytest

from refusals import check
from slipway.runs import bad_nodes
from slipway.train.watch.hang_report import Finding, conclude, has_word, innermost, suspect, write

HOSTS = {rank: f"node{rank // 2}" for rank in range(4)}
WAITS = "/x/torch/distributed/distributed_c10d.py:2790 in all_reduce"


def own(rank: int, **changes: Any) -> Finding:
    facts = {
        "rank": rank,
        "host": HOSTS[rank],
        "pid": 100 + rank,
        "state": "own",
        "at": WAITS,
        "step": 7,
        "what": "update",
        "count": 30,
        "seconds": 61.0,
    }
    return Finding.model_validate(facts | changes)


CASES = {
    "stopped": ([own(0), own(1), own(2, state="stopped", count=None), own(3)], [2], "its process is stopped"),
    "silent machine": ([own(0), own(1)], [2, 3], "no word from 2 ranks on node1"),
    "stuck": ([own(0), own(1), own(2, state="answers", count=None), own(3)], [2], "Python is stuck"),
    "behind": (
        [own(0), own(1, count=29, what="data"), own(2), own(3)],
        [1],
        "behind the others: step 7, data",
    ),
    "busy": ([own(0), own(1), own(2), own(3, at="/x/loop.py:3 in f")], [3], "it waits for nobody"),
    "all wait": ([own(rank) for rank in range(4)], [], "no rank stands out"),
}


@pytest.mark.parametrize("name", CASES)
def test_suspect(name: str) -> None:
    findings, ranks, why = CASES[name]
    found = suspect(findings, HOSTS)
    assert found.ranks == ranks
    assert why in found.why


def test_one_conclusion_with_an_event_and_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "hangs" / "segment-0001"
    folder.mkdir(parents=True)
    for finding in CASES["stopped"][0]:
        write(folder, finding)
    fault = conclude(tmp_path, folder, HOSTS, 7, now=5.0)
    assert fault is not None
    check(
        fault, "step 7", "61 s", "rank 2 on node1", "pid 102", WAITS, folder, use="watch.hang_timeout_minutes"
    )
    assert conclude(tmp_path, folder, HOSTS, 7, now=6.0) is None
    assert json.loads((folder / "verdict.json").read_text())["ranks"] == [2]
    (event,) = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert event == {
        "kind": "event",
        "time": 5.0,
        "step": 7,
        "event": "hang",
        "ranks": [2],
        "reason": str(fault),
    }


def test_the_next_segment_is_told_to_do_without_the_first_suspects_node(tmp_path: Path) -> None:
    for number, case in enumerate(("silent machine", "all wait", "stuck")):
        folder = tmp_path / "hangs" / f"segment-{number:04d}"
        folder.mkdir(parents=True)
        for finding in CASES[case][0]:
            write(folder, finding)
        assert conclude(tmp_path, folder, {**HOSTS, 2: "node1"}, 7, now=5.0) is not None
    assert bad_nodes.read(tmp_path) == {"node1": "hang in step 7: no word from 2 ranks on node1"}


def test_a_rank_that_answers_may_still_speak_for_itself(tmp_path: Path) -> None:
    write(tmp_path, own(1, state="answers", count=None))
    assert not has_word(tmp_path, 1)
    write(tmp_path, own(1))
    assert has_word(tmp_path, 1)


def test_a_stopped_rank_that_was_woken_stays_the_suspect(tmp_path: Path) -> None:
    write(tmp_path, own(1, state="stopped", count=None))
    write(tmp_path, own(1))
    assert Finding.model_validate_json((tmp_path / "rank-00001.json").read_text()).state == "stopped"


def test_the_main_thread_is_the_last_of_a_stack() -> None:
    stack = (
        "Thread 0x1 (most recent call first):\n"
        '  File "/a/watch.py", line 1 in wait\n\n'
        "Current thread 0x2 (most recent call first):\n"
        '  File "/a/step.py", line 42 in forward\n  File "/a/loop.py", line 7 in train\n'
    )
    assert innermost(stack) == "/a/step.py:42 in forward"
    assert innermost("") == ""
