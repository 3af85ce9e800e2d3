import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refusals import refused
from slipway.cli import main
from slipway.clusters import marks
from slipway.clusters.profiles import Profiles
from slipway.config.compose import compose, conf_dir

CONTRACT = [
    "juwels_booster",
    "jupiter_booster",
    "jureca_dc",
    "lumi_g",
    "leonardo_booster",
    "marenostrum5_acc",
    "meluxina_gpu",
    "karolina_gpu",
    "vega_gpu",
    "deucalion_gpu",
    "discoverer_plus",
    "aris_gpu",
    "daedalus",
    "slurm",
    "kubernetes",
    "gke",
    "eks",
    "aks",
    "local",
]
SHIPPED = sorted(file.stem for file in (conf_dir() / "cluster").glob("*.yaml"))

MINE = """\
# Two nodes in the basement.
defaults: [base/slurm@_here_, _self_]
name: basement
description: Two nodes in the basement
device: {kind: cuda, name: NVIDIA-L40S, memory_gib: 45, peak_tflops_bf16: 362, peak_tflops_fp32: 91.6}
nodes: 2
devices_per_node: 4
slurm:
  queues:
    day: {partition: gpu, qos: null, min_nodes: 1, max_nodes: 1, max_hours: 12}
    night: {partition: gpu, qos: night, min_nodes: 1, max_nodes: 2, max_hours: 8}
unverified: [slurm.queues.night.max_hours]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch) -> Path:
    """A folder of a user's own with two profiles: one from the base, one from a shipped one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sites"
    (folder / "cluster").mkdir(parents=True)
    (folder / "cluster" / "basement.yaml").write_text(MINE)
    (folder / "cluster" / "our_juwels.yaml").write_text(
        "defaults: [juwels_booster, _self_]\nname: our_juwels\nslurm: {queues: {booster: {max_nodes: 10}}}\n"
    )
    return folder


def test_every_contract_name_is_there() -> None:
    assert set(CONTRACT) <= set(Profiles().files())


@pytest.mark.parametrize("name", SHIPPED)
def test_read_here_as_hydra_composes_it(name: str) -> None:
    """The list's quick reading and Hydra's are the same, and every shipped profile is plain enough for it."""
    profiles = Profiles()
    assert profiles._merged(f"cluster/{name}") is not None
    assert profiles.load(name) == compose([f"cluster={name}"]).cluster


def test_the_list(capsys) -> None:
    assert main(["clusters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("  juwels_booster"))
    for text in (
        "Jülich",
        "slurm",
        "936 x 4",
        "NVIDIA-A100-SXM4-40GB",
        "booster, largebooster, develbooster",
    ):
        assert text in line
    assert sum(line.startswith(f"  {name} ") for name in SHIPPED for line in lines) == len(SHIPPED)


def test_one_in_full(capsys) -> None:
    assert main(["clusters", "juwels_booster"]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "booster booster - 1-384 24 unverified [6]" in shown
    assert "network.adapters mlx5_0, mlx5_1, mlx5_2, mlx5_3 [1]" in shown
    assert "network.interfaces unverified ib0 [4]" in shown
    assert "slurm.host_suffix unverified i [4]" in shown
    assert "[1] https://apps.fz-juelich.de/jsc/hps/juwels/booster-overview.html" in shown
    assert any("no internet" in line for line in shown)
    cluster = Profiles().load("juwels_booster")
    missing = [path for path, _ in marks.values(cluster) if not path.startswith("slurm.queues.")]
    assert [path for path in missing if not any(line.split(" ")[0] == path for line in shown)] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_of_a_site_has_its_source(name: str) -> None:
    """And no mark or source names a field that is not there."""
    cluster = Profiles().load(name)
    named = [*cluster.unverified, *(path for source in cluster.sources for path in source.of)]
    assert [path for path in named if not marks.has(cluster, path)] == []
    generic = "slurm" if cluster.slurm else "kubernetes" if cluster.kubernetes else None
    if generic in (None, name):
        return
    usual = dict(marks.values(Profiles().load(generic)))
    own = [
        path for path, value in marks.values(cluster) if marks.is_stated(value) and usual.get(path) != value
    ]
    assert [path for path in own if not marks.sources(cluster, path)] == []


def test_json(capsys) -> None:
    assert main(["clusters", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed["clusters"]] == SHIPPED and listed["unreadable"] == {}
    assert main(["clusters", "lumi_g", "--json"]) == 0
    lumi = json.loads(capsys.readouterr().out)
    assert (lumi["scheduler"], lumi["queues"]) == ("slurm", ["standard-g", "small-g", "dev-g"])
    assert lumi["profile"]["slurm"]["queues"]["standard-g"]["max_nodes"] == 1024
    assert "slurm.memory" in lumi["unverified"] and "node.cores" not in lumi["unverified"]


def test_ones_own_profiles_come_first_and_work_with_every_verb(own: Path, capsys) -> None:
    assert main(["clusters", "--config-dir", "sites", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["clusters"]}
    assert set(listed) == {*SHIPPED, "basement", "our_juwels"}
    assert listed["basement"]["queues"] == ["day", "night"]
    assert listed["basement"]["unverified"] == ["slurm.queues.night.max_hours"]
    assert main(["clusters", "basement", "--config-dir", "sites"]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "night gpu night 1-2 8 unverified: max_hours" in shown

    assert main(["plan", "--json", "--config-dir", "sites", "cluster=basement", "resources.nodes=2"]) == 0
    assert json.loads(capsys.readouterr().out)["world_size"] == 8
    assert main(["plan", "--config-dir", "sites", "cluster=basement", "resources.nodes=3"]) == 2
    assert "resources.nodes: 3 is more than the 2 of cluster basement" in capsys.readouterr().err
    assert (
        main(["train", "--cfg", "job", "--package", "cluster", "--config-dir", "sites", "cluster=our_juwels"])
        == 0
    )
    assert "max_nodes: 10" in capsys.readouterr().out


def test_own_profiles_as_hydra_composes_them(own: Path) -> None:
    for name in ("basement", "our_juwels"):
        assert Profiles(own).load(name) == compose([f"cluster={name}"], config_dir=own).cluster
    assert Profiles(own).load("our_juwels").slurm.queues["booster"].max_nodes == 10  # type: ignore[union-attr]


def test_what_only_hydra_knows_goes_to_hydra(own: Path) -> None:
    """Interpolations, nested choices, defaults without _self_."""
    for text in (
        "defaults: [slurm, _self_]\nname: odd\nnodes: 7\ndevices_per_node: ${.nodes}\n",
        "defaults: [/cluster/base/slurm@_here_, _self_]\nname: x\nslurm: {queues: {a: {partition: '${cluster.name}'}}}",
        "name: odd\n",
        "defaults: [local]\nname: odd\n",
    ):
        (own / "cluster" / "odd.yaml").write_text(text)
        assert Profiles(own).load("odd") == compose(["cluster=odd"], config_dir=own).cluster, text


def test_a_broken_profile_is_named_and_hides_no_other(own: Path, capsys) -> None:
    (own / "cluster" / "none.yaml").write_text("defaults: [base/slurm@_here_, _self_]\nname: none\n")
    (own / "cluster" / "torn.yaml").write_text("defaults: [base/slurm@_here_, _self_\n")
    (own / "cluster" / "wrong.yaml").write_text("defaults: [local, _self_]\nname: wrong\nnodes: many\n")
    assert main(["clusters", "--config-dir", "sites"]) == 0
    out = capsys.readouterr().out
    assert "basement" in out and "lumi_g" in out
    assert "not readable: cluster.slurm.queues: " in out
    assert "wrong.yaml: cluster.nodes: 'many' " in out
    torn, wrong = (f"{own}/cluster/{name}.yaml" for name in ("torn", "wrong"))
    paths = {"none": "cluster.slurm.queues", "torn": torn, "wrong": f"{wrong}: cluster.nodes"}
    for name, path in paths.items():
        with refused(path):
            Profiles(own).load(name)


def test_below_a_second(tmp_path: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "slipway", "clusters"], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert time.monotonic() - started < 5  # 0.3 s on a quiet machine
