"""The script of each Slurm profile, as it was read and found right.

tests/golden/launch/slurm_whole.sh is a whole script; NAME.diff holds the lines in which another one differs from it.
"""

import difflib
import os
import re
from functools import cache
from pathlib import Path

import pytest

from presets import large
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
# a line of a wrapped list of variables' names
LIST = re.compile(r'^ +(?:(?:"\$\{!\w+@\}";?|[A-Z][A-Z0-9_]+|do|\\)(?: |$))+$', re.MULTILINE)


def profiles() -> list[str]:
    """Of all clusters, those with Slurm: told by their text, since composing each takes seconds."""
    every = sorted((conf_dir() / "cluster").glob("*.yaml"))
    return [path.stem for path in every if "base/slurm" in path.read_text(encoding="utf-8")]


def configuration(profile: str, *more: str) -> RunConfig:
    """A run that the profile takes."""
    nodes = NODES.get(profile, 16)
    words = [*large("gpt3_1_3b", nodes, profile), "launch.account=project1", "training.micro_batch_size=2"]
    cluster = compose([f"cluster={profile}"]).cluster
    assert cluster.slurm is not None
    if cluster.slurm.qos_required:
        words.append("launch.qos=project1-qos")
    devices = nodes * (cluster.devices_per_node or 1)
    return compose([*words, f"training.global_batch_size={devices * 2}", *more])


def rendered(configs: list[RunConfig]) -> str:
    return slurm.render([make_plan(config) for config in configs], place(configs[0]), WORKDIR)


def without_plan_json(script: str) -> str:
    """The script without the body of its heredoc, the plan itself, which slurm_whole.sh has."""
    shorter, count = PLAN_JSON.subn("{...}\n", script)
    assert count == 1
    return shorter


@cache
def whole() -> str:
    """The script that is kept whole."""
    return rendered([configuration("slurm")])


def differences(script: str) -> str:
    """The lines that are not those of the whole script, between two that are; where they stand is left out."""
    ours, theirs = (LIST.sub(_one_a_line, without_plan_json(text)).splitlines() for text in (whole(), script))
    found = list(difflib.unified_diff(ours, theirs, n=2, lineterm=""))[2:]
    return "".join(f"{'@@' if line.startswith('@@') else line}\n" for line in found)


def _one_a_line(found: re.Match[str]) -> str:
    return "\n".join(f"    {word}" for word in found[0].split() if word != "\\")


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", [name for name in profiles() if name != "slurm"])
def test_script_of(profile: str) -> None:
    config = configuration(profile)
    assert scheduler_of(config.cluster) == "slurm"
    check(f"{profile}.diff", differences(rendered([config])))


def test_a_whole_script() -> None:
    check("slurm_whole.sh", whole())


def test_a_sweep_is_an_array() -> None:
    changes = [(f"run.name='try,lr={lr}'", f"optimizer.lr={lr}") for lr in (0.001, 0.002, 0.003)]
    check(
        "slurm_sweep.diff", differences(rendered([configuration("slurm", name, lr) for name, lr in changes]))
    )


def test_preflight() -> None:
    check("slurm_preflight.diff", differences(rendered([configuration("slurm", "launch.preflight=true")])))


def test_every_golden_is_somebodys() -> None:
    """A profile that went away leaves no file behind."""
    assert {path.stem for path in GOLDEN.glob("*.diff")} == {
        *profiles(),
        "slurm_sweep",
        "slurm_preflight",
    } - {"slurm"}
    assert [path.name for path in GOLDEN.glob("*.sh")] == ["slurm_whole.sh"]
