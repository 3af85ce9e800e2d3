"""A job on part of a node takes its part of what the profile says of a whole one."""

from pathlib import Path

import pytest

import shell_standins
from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.launch import share, slurm
from slipway.launch.placement import place
from slipway.plan import make_plan

JUELICH = ("juwels_booster", "jupiter_booster", "jureca_dc")


def job(*words: str) -> RunConfig:
    return compose(["launch.account=a", *words])


@pytest.mark.parametrize(
    ("words", "memory"),
    [
        (["cluster=lumi_g"], "480G"),
        (["cluster=lumi_g", "resources.devices_per_node=1"], "480G"),  # whole nodes
        (["cluster=lumi_g", "cluster.slurm.exclusive=false"], "480G"),
        (["cluster=lumi_g", "cluster.slurm.exclusive=false", "resources.devices_per_node=1"], "61440M"),
        (["cluster=vega_gpu", "cluster.slurm.exclusive=false", "resources.devices_per_node=2"], "240640M"),
        (["cluster=slurm", "cluster.slurm.memory=100G", "cluster.slurm.exclusive=false"], "100G"),
    ],
)
def test_memory(words: list[str], memory: str) -> None:
    assert share.memory(job(*words)) == memory


def test_masks_are_of_whole_nodes() -> None:
    masks = share.cpu_masks(job("cluster=lumi_g"))
    assert (
        len(masks) == 8
        and share.cpu_masks(job("cluster=lumi_g", "resources.devices_per_node=2")) == masks[:2]
    )
    shared = job("cluster=lumi_g", "cluster.slurm.exclusive=false", "resources.devices_per_node=2")
    assert share.cpu_masks(shared) == []
    script = slurm.render([make_plan(shared)], place(shared), Path("/work"))
    assert "--cpu-bind=cores" in script and "--cpus-per-task=7" in script and "--mem=122880M" in script


def test_showing_all_devices_of_a_shared_node_is_refused() -> None:
    with refused("cluster.slurm.show_all_devices", "exclusive=true", value=True):
        job("cluster=juwels_booster", "cluster.slurm.exclusive=false")


@pytest.mark.parametrize("site", JUELICH)
@pytest.mark.parametrize("devices", [4, 2])
def test_every_task_sees_all_devices_where_srun_shows_it_one(site: str, devices: int, tmp_path: Path) -> None:
    """The rendered script with a srun that does as the sites' own plug-in: CUDA_VISIBLE_DEVICES is the local rank."""
    shell_standins.prepare(tmp_path)
    (tmp_path / "bin" / "srun").write_text(
        f'#!{tmp_path}/bin/bash\nwhile [ $# -gt 0 ] && [ "$1" != bash ]; do shift; done\n'
        f"for local in {' '.join(map(str, range(devices)))}; do\n"
        '    SLURM_PROCID=$local SLURM_LOCALID=$local CUDA_VISIBLE_DEVICES=$local "$@"\ndone\n'
    )
    (tmp_path / "bin" / "apptainer").write_text(
        f'#!{tmp_path}/bin/bash\necho "$SLURM_LOCALID $CUDA_VISIBLE_DEVICES" >>{tmp_path}/seen\n'
    )
    (tmp_path / "work").mkdir()
    config = job(f"cluster={site}", f"resources.devices_per_node={devices}")
    script = slurm.render([make_plan(config)], place(config), tmp_path / "work")
    ran = shell_standins.run(tmp_path, script, SLURM_JOB_ID="7", SLURM_JOB_NODELIST="n1")
    assert ran.code == 0, ran.output
    every = ",".join(map(str, range(devices)))
    assert (tmp_path / "seen").read_text().splitlines() == [f"{local} {every}" for local in range(devices)]
    assert "--cpu-bind" not in script  # psslurm binds each rank next to its GPU; --cpu-bind=cores would not


@pytest.mark.parametrize(
    ("words", "value", "fact", "use"),
    [
        (["cluster.node.cores=32", "cluster.node.cores_per_device=17"], 17, "4 ranks x 17 = 68", 8),
        (["cluster.node.memory_gib=512", "cluster.slurm.memory=600G"], "600G", 512, ()),
    ],
)
def test_more_than_a_node_has(words: list[str], value: object, fact: object, use: object) -> None:
    more = ["cluster=leonardo_booster", "resources.devices_per_node=4", "training.global_batch_size=64"]
    with refused(words[-1].partition("=")[0], fact, value=value, use=use):
        share.check(compose([*more, *words]))
    share.check(compose(more))
