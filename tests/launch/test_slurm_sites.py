"""Would each site take our scripts? Asked of a Slurm controller that knows the site's nodes, limits, accounts."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import slurm_sites
from refusals import refused
from slipway.config.cluster import Queue
from slipway.config.compose import compose, conf_dir
from slipway.config.schema import RunConfig
from slipway.launch import slurm as renderer
from slipway.launch.placement import place
from slipway.plan import Plan, make_plan
from slurm_sites import ACCOUNTS, OWN_QOS, SITES
from slurm_testbed import Slurm, lacking

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(lacking()), reason=f"lacking: {', '.join(lacking())}"),
]

# What a user of a site whose size the profile does not know states.
STATED = {"slurm": ["cluster.nodes=8"], "daedalus": ["cluster.nodes=16"]}

PLANS: dict[tuple[str, int], Plan] = {}


@pytest.fixture(scope="module")
def know(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Slurm]]:
    with slurm_sites.controllers(tmp_path_factory.mktemp("controller")) as function:
        yield function


@pytest.fixture(scope="module")
def base() -> Callable[[str], RunConfig]:
    """A run on a site, with what the site requires and all devices of its nodes."""
    made: dict[str, RunConfig] = {}

    def function(site: str) -> RunConfig:
        if site not in made:
            words = [f"cluster={site}", f"launch.account={ACCOUNTS[0]}", *STATED.get(site, [])]
            words += [f"resources.devices_per_node={SITES[site].gpus}"]
            words += [f"launch.qos={OWN_QOS}"] if OWN_QOS in SITES[site].qos else []
            made[site] = compose(words)
        return made[site]

    return function


def sized(config: RunConfig, nodes: int, **launch: object) -> RunConfig:
    """The same run on other nodes."""
    world = nodes * config.resources.devices_per_node
    return config.model_copy(
        update={
            "resources": config.resources.model_copy(update={"nodes": nodes}),
            "training": config.training.model_copy(
                update={"global_batch_size": world, "micro_batch_size": 1}
            ),
            "launch": config.launch.model_copy(update=launch),
        }
    )


def limitless(config: RunConfig) -> RunConfig:
    """The same run, by a profile that knows no limits."""
    cluster = config.cluster
    assert cluster.slurm is not None
    queues = {
        name: Queue(partition=queue.partition, qos=queue.qos, max_hours=queue.max_hours)
        for name, queue in cluster.slurm.queues.items()
    }
    slurm = cluster.slurm.model_copy(update={"queues": queues})
    return config.model_copy(update={"cluster": cluster.model_copy(update={"slurm": slurm, "nodes": None})})


def script(config: RunConfig, tmp_path: Path) -> str:
    """As `slipway launch` prints it; plans of thousands of ranks are made once a size."""
    key = config.cluster.name, config.resources.nodes
    if key not in PLANS:
        PLANS[key] = make_plan(config)
    return renderer.render([PLANS[key].model_copy(update={"config": config})], place(config), tmp_path)


def verdict(slurm: Slurm, text: str, tmp_path: Path) -> tuple[bool, str]:
    """Whether the site would take the script, and what it says."""
    path = tmp_path / "job.sh"
    path.write_text(text)
    done = slurm.run(["sbatch", "--test-only", str(path)], cwd=tmp_path)
    return done.returncode == 0, done.stderr


def most_nodes(config: RunConfig, queue: Queue) -> int:
    most = queue.max_nodes or config.cluster.nodes
    assert most is not None
    return most


def test_no_site_is_left_out() -> None:
    profiles = [file.stem for file in (conf_dir() / "cluster").glob("*.yaml")]
    assert {name for name in profiles if compose([f"cluster={name}"]).cluster.slurm} == set(SITES)


@pytest.mark.parametrize("site", SITES)
def test_the_site_takes_what_we_render_and_we_refuse_what_it_would(
    site: str, know: Callable[[str], Slurm], base: Callable[[str], RunConfig], tmp_path: Path
) -> None:
    slurm, config = know(site), base(site)
    assert config.cluster.slurm is not None
    largest = max(most_nodes(config, queue) for queue in config.cluster.slurm.queues.values())
    for nodes in (1, largest):
        taken, said = verdict(slurm, script(sized(config, nodes), tmp_path), tmp_path)
        assert taken, f"{nodes} nodes: {said}"
        assert f"using {nodes} nodes" in said or "to start at" in said

    beyond = sized(config, largest + 1)
    with refused("resources.nodes", value=largest + 1):
        place(beyond)
    knows_limits = slurm_sites.with_accounting() or not SITES[site].qos
    if knows_limits:
        taken, said = verdict(slurm, script(limitless(beyond), tmp_path), tmp_path)
        assert not taken, said

    for name, queue in config.cluster.slurm.queues.items():
        for nodes in {queue.min_nodes, most_nodes(config, queue)}:
            asked = sized(config, nodes, partition=name)
            taken, said = verdict(slurm, script(asked, tmp_path), tmp_path)
            assert taken, f"{name}, {nodes} nodes: {said}"
        minutes = place(sized(config, queue.min_nodes, partition=name)).minutes
        if minutes is None or not knows_limits:
            continue
        late = sized(config, queue.min_nodes, partition=name, time_limit=minutes + 1)
        with refused("launch.time_limit", value=f"{minutes + 1} min"):
            place(late)
        text = script(sized(config, queue.min_nodes, partition=name), tmp_path)
        text = re.sub(r"--time=\S+", f"--time={minutes + 1}", text)
        taken, said = verdict(slurm, text, tmp_path)
        assert not taken, f"{name}, {minutes + 1} min: {said}"


def test_the_controller_bites(
    know: Callable[[str], Slurm], base: Callable[[str], RunConfig], tmp_path: Path
) -> None:
    """Each mistake in a good script is seen: else the test above would show nothing."""
    slurm = know("juwels_booster")
    good = script(sized(base("juwels_booster"), 2), tmp_path)
    assert verdict(slurm, good, tmp_path)[0]
    mistakes = {
        "--nodes=2": ("--nodes=937", "Node count"),
        "--gres=gpu:4": ("--gres=gpu:5", "node configuration"),
        "--partition=booster": ("--partition=boster", "invalid partition"),
        "--cpus-per-task=12": ("--cpus-per-task=13", "node configuration"),
        "--time=24:00:00": ("--time=24:01:00", "time limit"),
        "--exclusive": ("--exclusive\n#SBATCH --mem=600G", "node configuration"),
    }
    if slurm_sites.with_accounting():
        mistakes["--account=abc"] = ("--account=nobody", "Invalid account")
        mistakes["--open-mode"] = ("--qos=nothing\n#SBATCH --open-mode", "Invalid qos")
    for right, (wrong, complaint) in mistakes.items():
        assert good.count(right) == 1, right
        taken, said = verdict(slurm, good.replace(right, wrong), tmp_path)
        assert not taken and complaint.lower() in said.lower(), (wrong, said)
    if not slurm_sites.with_accounting():
        pytest.skip(f"accounts and QoS were not checked: that needs {', '.join(slurm_sites.ACCOUNTING)}")
