"""launch.preflight where no Slurm is: the doctor comes first, and nothing is trained where it finds a fault."""

import os
import subprocess
from pathlib import Path

import pytest

from slipway.config.compose import compose
from slipway.launch import local
from slipway.launch.kubernetes import manifests
from slipway.launch.placement import place
from slipway.plan import Plan, make_plan

SLIPWAY = '#!/bin/sh\necho "$@" >>calls\n[ "$1" != doctor ] || exit ${DOCTOR:-0}\n'


def plan(*words: str) -> Plan:
    return make_plan(compose(["run.dir=run", *words]))


@pytest.mark.parametrize(
    ("preflight", "doctor", "verbs"),
    [("true", "0", ["doctor", "train"]), ("true", "1", ["doctor"]), ("false", "1", ["train"])],
)
def test_on_this_machine(tmp_path: Path, preflight: str, doctor: str, verbs: list[str]) -> None:
    config = plan("cluster=local", f"launch.preflight={preflight}")
    script = local.render([config], place(config.config), tmp_path)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "slipway"
    program.write_text(SLIPWAY)
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash"], input=script, text=True, timeout=60, env={"PATH": path, "DOCTOR": doctor})
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [words[0] for words in calls] == verbs
    assert done.returncode == (1 if verbs == ["doctor"] else 0)
    if preflight == "true":
        assert calls[0] == ["doctor", "--plan", "run/job_plan.json", "--collectives"]


def test_in_pods() -> None:
    config = plan("cluster=kubernetes", "launch.preflight=true", "launch.kind=job", "resources.nodes=2")
    found = manifests([config], place(config.config))
    (job,) = [manifest for manifest in found if manifest["kind"] == "Job"]
    spec = job["spec"]["template"]["spec"]
    (check,) = spec["initContainers"]
    (train,) = spec["containers"]
    assert check["args"][:3] == ["slipway", "doctor", "--collectives"]
    assert check["args"][-len(train["args"]) + 2 :] == train["args"][2:]
    own = ("name", "args", "ports")
    assert {k: v for k, v in check.items() if k not in own} == {
        k: v for k, v in train.items() if k not in own
    }
