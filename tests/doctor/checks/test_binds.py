from pathlib import Path

from doctor.looking import looking, plant
from slipway.doctor.checks import binds


def test_sources_outside_and_targets_inside(tmp_path: Path) -> None:
    here = looking(
        tmp_path, "cluster.container.binds=['/data:/lent:ro','$SCRATCH']", environment={"SCRATCH": "/big"}
    )
    plant(tmp_path / "big/file")
    found = binds.binds(here)
    assert (found.status, found.saw, found.expected) == (
        "fault",
        "not there: /data",
        "/data, /big on the host",
    )
    plant(tmp_path / "data/file")
    assert binds.binds(here).status == "ok"
    plant(tmp_path / "opt/slipway/etc/env.sh")
    assert binds.binds(here).saw == "not there: /lent"
    assert binds.binds(looking(tmp_path)).status == "skipped"
