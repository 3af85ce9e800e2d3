"""The script of each Slurm profile, as it was read and found right. Files: tests/golden/launch/NAME.sh."""

import os
import re
from pathlib import Path

import pytest

from slipway.config.compose import compose, conf_dir
from slipway.config.schema import RunConfig
from slipway.launch import slurm
from slipway.launch.placement import place, scheduler_of
from slipway.plan import make_plan

GOLDEN = Path(__file__).parent.parent / "golden" / "launch"
# SLIPWAY_UPDATE_GOLDENS=1 writes them anew; read the difference before committing it.
UPDATE = os.environ.get("SLIPWAY_UPDATE_GOLDENS") == "1"
WORKDIR = Path("/project/me")
NODES = {
    "deucalion_gpu": 4,
    "discoverer_plus": 4,
    "aris_gpu": 3,
}  # else 16, so that the queues of many nodes are seen

PLAN_JSON = re.compile(r"(?<=<<'SLIPWAY_PLAN_JSON' \|\| exit 1\n).*?\n(?=SLIPWAY_PLAN_JSON\n)", re.DOTALL)


def profiles() -> list[str]:
    """Of all clusters, those with Slurm."""
    every = sorted(path.stem for path in (conf_dir() / "cluster").glob("*.yaml"))
    return [name for name in every if scheduler_of(compose([f"cluster={name}"]).cluster) == "slurm"]


def configuration(profile: str, *more: str) -> RunConfig:
    """A run that the profile takes."""
    nodes = NODES.get(profile, 16)
    words = [f"cluster={profile}", "model=gpt3_1_3b", f"resources.nodes={nodes}", "launch.account=project1"]
    cluster = compose(words[:1]).cluster
    assert cluster.slurm is not None
    if cluster.slurm.qos_required:
        words.append("launch.qos=project1-qos")
    devices = nodes * (cluster.devices_per_node or 1)
    return compose([*words, f"training.global_batch_size={devices * 2}", *more])


def rendered(configs: list[RunConfig]) -> str:
    return slurm.render([make_plan(config) for config in configs], place(configs[0]), WORKDIR)


def without_plan_json(script: str) -> str:
    """The script without the body of its heredoc, which is the same 200 lines in each; slurm_whole.sh has it."""
    shorter, count = PLAN_JSON.subn("{...}\n", script)
    assert count == 1
    return shorter


def check(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.sh"
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", profiles())
def test_script_of(profile: str) -> None:
    check(profile, without_plan_json(rendered([configuration(profile)])))


def test_a_whole_script() -> None:
    check("slurm_whole", rendered([configuration("slurm")]))


def test_a_sweep_is_an_array() -> None:
    changes = [(f"run.name='try,lr={lr}'", f"optimizer.lr={lr}") for lr in (0.001, 0.002, 0.003)]
    check(
        "slurm_sweep", without_plan_json(rendered([configuration("slurm", name, lr) for name, lr in changes]))
    )


def test_preflight() -> None:
    check("slurm_preflight", without_plan_json(rendered([configuration("slurm", "launch.preflight=true")])))


def test_every_golden_is_somebodys() -> None:
    """A profile that went away leaves no file behind."""
    own = {*profiles(), "slurm_whole", "slurm_sweep", "slurm_preflight"}
    assert {path.stem for path in GOLDEN.glob("*.sh")} == own
