"""A run's files that cannot be read for a moment: nobody concludes anything, nothing is written over."""

import json
import os
import subprocess
import sys
from errno import EACCES, EIO, ESTALE
from pathlib import Path

from faulty_files import Rule, faulty, struck
from slipway.launch import record
from slipway.plan.facts import Facts
from slipway.runs import bad_nodes, ledger
from slipway.runs.lock import holder as holder_file
from slipway.runs.lock.holder import Holder

FACTS = Facts(name="a", model="b", steps=9, nodes=1, world_size=1, layout={})
ELSEWHERE = Holder(host="node7", machine="another", pid=4711, job="99", since=1000.0)

TRY = """
import json, sys, time
from pathlib import Path
from slipway.errors import Fault, UserError
from slipway.launch import record
from slipway.runs import bad_nodes, ledger, overview, progress
from slipway.runs.lock import holder, lock
from slipway.plan import facts
from slipway.metrics import file as metrics_file
from slipway.metrics.log import drop_after
run, me = Path(sys.argv[1]), holder.Holder.here()
tries = {
    "number": lambda: ledger.newest_number(run),
    "take": lambda: lock.take(run),
    "beat": lambda: lock.RunLock(run, -1, me).beat(),
    "held": lambda: lock.check_free(run / "looked"),
    "holder": lambda: lock.holder_of(run, time.time()),
    "submitted": lambda: record.read(run),
    "add": lambda: record.add(run, record.Submission(scheduler="local", cluster="c", submitted=0.0)),
    "continuations": lambda: record.continuations(run),
    "facts": lambda: facts.read_facts(run),
    "nodes": lambda: bad_nodes.read(run),
    "metrics": lambda: metrics_file.read(run / "metrics.jsonl"),
    "progress": lambda: progress.read_progress(run),
    "drop": lambda: drop_after(run / "metrics.jsonl", 0),
    "look": lambda: list(overview.look(run, time.time()).problems),
}
for name, attempt in tries.items():
    try:
        answer = attempt()
        print(json.dumps([name, "none", answer if name == "look" else repr(answer)]))
    except (Fault, UserError) as error:
        print(json.dumps([name, type(error).__name__, str(error)]))
"""


def test_what_cannot_be_read_is_neither_absent_nor_written_over(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "looked").mkdir(parents=True)
    (run_dir / "looked" / ".lock").touch()
    ledger.begin_segment(run_dir, FACTS, ELSEWHERE, 1, 0.0, {})
    holder_file.write(run_dir, ELSEWHERE)
    record.add(run_dir, record.Submission(scheduler="slurm", cluster="c", submitted=0.0, id="7"))
    bad_nodes.add(run_dir, "n1", "tired")
    (run_dir / "launch.continuations").write_text("8\n")
    (run_dir / "plan.json").write_text("{}")
    (run_dir / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 1}) + "\n")
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    rules = [
        Rule("open,list", f"{run_dir}/segments", EIO),
        Rule("read", f"{run_dir}/.lock.holder", ESTALE),
        Rule("open", f"{run_dir}/looked/.lock", EACCES),
        Rule("open", f"{run_dir}/launch.json", EACCES),
        Rule("read", f"{run_dir}/launch.continuations", EIO),
        Rule("open", f"{run_dir}/plan.json", EACCES),
        Rule("open", f"{run_dir}/bad_nodes", EIO),
        Rule("read", f"{run_dir}/metrics.jsonl", EIO),
    ]
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(run_dir)],
        env={**os.environ, **faulty(rules, tmp_path / "faults")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = {name: (kind, text) for name, kind, text in map(json.loads, done.stdout.splitlines())}
    kind, problems = answers.pop("look")
    assert kind == "none"
    named = {"segments", ".lock.holder", "launch.json", "plan.json", "metrics.jsonl"}
    assert named <= {Path(line.partition(": ")[0]).name for line in problems}
    for name, (kind, text) in answers.items():
        assert kind == "Unreadable" and "\n" not in text, (name, kind, text)
    del before[run_dir / "launch.continuations"], before[run_dir / "bad_nodes"]  # nobody here writes them
    assert {path: path.read_bytes() for path in before} == before
    assert len({one.path for one in struck(tmp_path / "faults")}) == len(rules)
