"""`slipway launch --preflight` on a real Slurm, through the real SIF: a bad node is found, and the run avoids it."""

from collections.abc import Iterator

import psutil
import pytest

import slurm_testbed
from launch.test_slurm_cluster import SECONDS, Site, sif_here, site
from training import LAYOUT

__all__ = ["sif_here", "site"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        bool(slurm_testbed.lacking()), reason=f"no Slurm here: {', '.join(slurm_testbed.lacking())}"
    ),
]

FEW = 3
ONE_RANK_EACH = ["resources.nodes=2", f"{LAYOUT['ranks']}=1", f"{LAYOUT['tp']}=1", f"{LAYOUT['pp']}=2"]


def own_address() -> str | None:
    """An address of this machine by which its nodes, that share its network, reach each other."""
    found = (
        one for entries in psutil.net_if_addrs().values() for one in entries if one.family.name == "AF_INET"
    )
    return next((one.address for one in found if not one.address.startswith("127.")), None)


@pytest.fixture
def one_bad_node(site: Site) -> Iterator[Site]:
    """n1 has hardly any shared memory; the nodes' names stand for no loopback, as in a real machine."""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but the loopback's")
    hosts = site.slurm.folder / "hosts"
    before = hosts.read_text()
    hosts.write_text(f"127.0.0.1 localhost\n{slurm_testbed.hosts(address)}")
    assert site.slurm.on("n1", ["mount", "-t", "tmpfs", "-o", "size=1m", "none", "/dev/shm"]).returncode == 0
    yield site
    site.slurm.on("n1", ["umount", "/dev/shm"])
    hosts.write_text(before)


def test_a_bad_node_is_named_and_left_out(one_bad_node: Site) -> None:
    site, name = one_bad_node, "checked"
    job = site.launch(
        name, "--preflight", "cluster.slurm.requeue=false", f"training.steps={FEW}", nodes=ONE_RANK_EACH
    )
    site.slurm.until(lambda: not site.alive(name), f"the end of {name}", SECONDS)
    words = site.words(name)
    assert "slipway doctor: n1: shm: saw 1 MiB" in words
    assert "the preflight found bad nodes; job" in words and "continues, without n1" in words
    bad = (site.run_dir(name) / "bad_nodes").read_text().splitlines()
    assert len(bad) == 1 and bad[0].startswith("n1 doctor: shm: 1 MiB")
    assert site.slurm.state(job) == "FAILED"
    assert "on n[2-3]" in words and site.steps(name) == FEW, words
    assert words.count("all 2 ranks answered") == 2  # the doctor looked at both pairs of nodes
