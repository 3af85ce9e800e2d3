"""What goes into run.dir/bad_nodes and what the Slurm script takes from it."""

from pathlib import Path

import pytest

from slipway.runs import bad_nodes


def test_a_node_is_named_once_as_its_scheduler_calls_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert bad_nodes.read(run_dir) == {}
    bad_nodes.add(run_dir, "n2.rack1", "hang in step 7:\nstopped")
    bad_nodes.add(run_dir, "n2.rack1", "again")
    bad_nodes.add(run_dir, "n10", "doctor: TCP")
    assert (run_dir / "bad_nodes").read_text() == "n2.rack1 hang in step 7: stopped\nn10 doctor: TCP\n"
    assert bad_nodes.read(run_dir) == {"n2.rack1": "hang in step 7: stopped", "n10": "doctor: TCP"}


@pytest.mark.parametrize("host", ["", "-x", "$(id)", "a b", "a;b", "a,b", "--exclude=x", "n[1-4]", "\n"])
def test_what_is_no_hosts_name_gets_into_no_command_line(host: str, tmp_path: Path) -> None:
    bad_nodes.add(tmp_path, host, "reason")
    assert bad_nodes.read(tmp_path) == {}
