"""Files that appear whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faulty_files import Rule, faulty, struck
from refusals import refused
from slipway import files
from slipway.files import whole, write_whole


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_whole(path, "old\n")
    write_whole(path, "new\n")
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(KeyError), whole(path) as beside:
        beside.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_not_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    with whole(path) as beside:
        beside.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "archive")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling", "absent"):
        assert files.remove(tmp_path / name) is None
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_absent_and_unreadable_are_two_things(tmp_path: Path) -> None:
    assert files.read(tmp_path / "absent") is None
    assert files.read(tmp_path / "absent" / "below") is None
    assert files.names(tmp_path / "absent") == []
    for path in (tmp_path, tmp_path / ("x" * 300)):
        with refused(path, kind=files.Unreadable):
            files.read(path)


def test_of_interrupted_writes_only_the_owners_are_removed(tmp_path: Path) -> None:
    names = [
        ".plan.json.77.tmp",
        ".loss.png.77.tmp",
        "plan.json.77.tmp",
        ".plan.json.tmp",
        ".plan.json.x.tmp",
    ]
    for name in names:
        (tmp_path / name).write_text("half")
    files.sweep(tmp_path, lambda name: name == "plan.json")
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from checkpoints import make_checkpoint
from slipway import files
from slipway.launch import record
from slipway.runs import bad_nodes, ledger
from slipway.plan.facts import Facts
from slipway.runs.lock.holder import Holder
from slipway.metrics.log import drop_after
run = Path(sys.argv[1])
files.write_whole(run / "plan.json", "{}")
log = files.Appended(run / "metrics.jsonl")
log.write('{"kind": "train", "step": 1}')
log.write('{"kind": "train", "step": 2}')
log.flush()
drop_after(run / "metrics.jsonl", 1)
facts = Facts(name="a", model="b", steps=1, nodes=1, world_size=1, layout={})
ledger.begin_segment(run, facts, Holder.here(), 1, 0.0, {})
record.add(run, record.Submission(scheduler="local", cluster="here", submitted=0.0))
bad_nodes.add(run, "n1", "tired")
make_checkpoint(run, 1)
make_checkpoint(run, 1)
"""


def test_what_must_last_is_on_disk_before_it_gets_its_name_and_its_name_is_after(tmp_path: Path) -> None:
    """By the order of the calls: a rename comes after the flush of what it names, and before that of the folder."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    rules = [Rule(operation, f"{run_dir}*") for operation in ("write", "fsync", "rename", "mkdir")]
    words = [sys.executable, "-c", WRITE, str(run_dir), str(Path(__file__).parent)]
    env = {**os.environ, **faulty(rules, tmp_path / "calls")}
    subprocess.run(words, env=env, check=True, timeout=60)
    calls = [(one.operation, Path(one.path)) for one in struck(tmp_path / "calls")]
    renamed = {path for operation, path in calls if operation == "rename"}
    assert {path.name.lstrip(".").split(".")[0] for path in renamed} >= {
        *("plan", "metrics", "0001", "launch", "step-00000001", "latest")
    }
    for at, (operation, path) in enumerate(calls):
        if operation in ("rename", "mkdir"):
            assert ("fsync", path.parent) in calls[at:], f"the name of {path}"
        if operation == "rename" and not path.name.startswith("step-"):  # set aside: it was there before
            assert ("fsync", path) in calls[:at], f"{path} before its rename"
        if operation == "write":
            assert ("fsync", path) in calls[at:], f"what was written to {path}"
            later = [p for o, p in calls[at:] if o == "rename" and (p == path or p in path.parents)]
            if later:
                assert ("fsync", path) in calls[at : calls.index(("rename", later[0]), at)]


@pytest.mark.parametrize("before", ["", "whole\n", "torn"])
def test_a_line_is_added_on_a_line_of_its_own(tmp_path: Path, before: str) -> None:
    path = tmp_path / "log"
    path.write_text(before)
    files.append(path, "added")
    assert path.read_text() == before + "\n" * (before == "torn") + "added\n"


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Where a file is expected: nobody may ever write into it."""
    os.mkfifo(tmp_path / "pipe")
    with refused(tmp_path / "pipe", kind=files.Unreadable):
        files.read(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "device")
    with refused(tmp_path / "device", kind=files.Unreadable):
        files.read(tmp_path / "device")
