import pytest

from slipway.config.cluster import Queue
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.launch.placement import Placement, place

BASE: dict[str, RunConfig] = {}


def config(cluster: str, nodes: int = 1, *, devices: int | None = None, **launch) -> RunConfig:
    """A run on a cluster; composed once per cluster, then changed."""
    if cluster not in BASE:
        BASE[cluster] = compose([f"cluster={cluster}"])
    base = BASE[cluster]
    changed = {"nodes": nodes} | ({"devices_per_node": devices} if devices else {})
    plain = base.launch.model_dump() | {"account": "abc" if base.cluster.slurm else None} | launch
    return base.model_copy(
        update={
            "resources": base.resources.model_copy(update=changed),
            "launch": type(base.launch).model_validate(plain),
        }
    )


def queue(placement: Placement) -> tuple[str | None, str | None, str | None, int | None]:
    return placement.queue_name, placement.partition, placement.qos, placement.minutes


PLACED = [
    ("juwels_booster", 1, {}, ("booster", "booster", None, 1440)),
    ("juwels_booster", 384, {}, ("booster", "booster", None, 1440)),
    ("juwels_booster", 385, {}, ("largebooster", "largebooster", None, 1440)),
    ("juwels_booster", 936, {}, ("largebooster", "largebooster", None, 1440)),
    ("juwels_booster", 4, {"partition": "develbooster"}, ("develbooster", "develbooster", None, 120)),
    ("juwels_booster", 4, {"time_limit": "01:30:00"}, ("booster", "booster", None, 90)),
    ("jupiter_booster", 5884, {}, ("booster", "booster", None, 720)),
    ("lumi_g", 1024, {}, ("standard-g", "standard-g", None, 2880)),
    ("lumi_g", 4, {"time_limit": "2-12:00:00"}, ("small-g", "small-g", None, 3600)),
    ("leonardo_booster", 64, {}, ("prod", "boost_usr_prod", None, 1440)),
    ("leonardo_booster", 65, {}, ("bprod", "boost_usr_prod", "boost_qos_bprod", 1440)),
    (
        "leonardo_booster",
        65,
        {"partition": "boost_usr_prod"},
        ("bprod", "boost_usr_prod", "boost_qos_bprod", 1440),
    ),
    ("leonardo_booster", 1, {"qos": "boost_qos_dbg"}, ("dbg", "boost_usr_prod", "boost_qos_dbg", 30)),
    ("leonardo_booster", 1, {"qos": "ours"}, ("prod", "boost_usr_prod", "ours", 1440)),
    ("marenostrum5_acc", 100, {}, ("acc_ehpc", "acc", "acc_ehpc", 4320)),
    ("marenostrum5_acc", 1, {"qos": "acc_bsc"}, ("acc_ehpc", "acc", "acc_bsc", 4320)),
    ("karolina_gpu", 17, {}, ("qgpu_big", "qgpu_big", None, 720)),
    ("discoverer_plus", 1, {"qos": "p1"}, ("common", "common", "p1", 240)),
    ("slurm", 3, {}, ("default", None, None, None)),
    ("slurm", 3, {"partition": "main"}, (None, "main", None, None)),
]


@pytest.mark.parametrize(("cluster", "nodes", "launch", "expected"), PLACED)
def test_the_first_queue_that_fits(cluster: str, nodes: int, launch: dict, expected: tuple) -> None:
    placement = place(config(cluster, nodes, **launch))
    assert queue(placement) == expected
    assert (placement.scheduler, placement.image) == ("slurm", "slipway.sif")


REFUSED = [
    ("juwels_booster", 937, {}, "resources.nodes: 937 is more than the 936 of cluster juwels_booster"),
    (
        "juwels_booster",
        500,
        {"partition": "booster"},
        "resources.nodes: 500 nodes are more than the 384 of queue booster of juwels_booster; queue largebooster takes "
        "385 to 936 nodes for up to 24 h: launch.partition=largebooster",
    ),
    (
        "juwels_booster",
        5,
        {"partition": "largebooster"},
        "resources.nodes: 5 nodes are fewer than the 385 that queue largebooster of juwels_booster asks for; queue "
        "booster takes 1 to 384 nodes for up to 24 h: launch.partition=booster",
    ),
    (
        "juwels_booster",
        1,
        {"time_limit": "24:01:00"},
        "launch.time_limit: 1441 min = 24.0167 h are more than the 24 h of queue booster of juwels_booster; allowed: "
        "up to 24 h, longer runs are chains of jobs",
    ),
    (
        "juwels_booster",
        1,
        {"partition": "develbooster", "time_limit": "03:00:00"},
        "launch.time_limit: 180 min = 3 h are more than the 2 h of queue develbooster of juwels_booster; queue booster "
        "takes 1 to 384 nodes for up to 24 h: launch.partition=booster",
    ),
    (
        "leonardo_booster",
        1,
        {"qos": "boost_qos_dbg", "time_limit": 60},
        "launch.time_limit: 60 min = 1 h are more than the 0.5 h of queue dbg of leonardo_booster; queue prod takes 1 "
        "to 64 nodes for up to 24 h: launch.partition=prod launch.qos=null",
    ),
    (
        "leonardo_booster",
        257,
        {},
        "resources.nodes: 257 nodes are more than the 256 of queue bprod of leonardo_booster; allowed: prod: 1 to 64 "
        "nodes for up to 24 h; bprod: 65 to 256 nodes for up to 24 h; dbg: 1 to 2 nodes for up to 0.5 h; lprod: 1 to 8 "
        "nodes for up to 96 h",
    ),
    (
        "lumi_g",
        5,
        {"time_limit": "60:00:00"},
        "launch.time_limit: 3600 min = 60 h are more than the 48 h of queue standard-g of lumi_g; allowed: up to 48 h, "
        "longer runs are chains of jobs",
    ),
    (
        "juwels_booster",
        1,
        {"partition": "devel"},
        "launch.partition: devel is no queue of cluster juwels_booster; did you mean develbooster? (valid: booster, "
        "develbooster, largebooster); another: +cluster.slurm.queues.devel={partition:devel}, with its limits "
        "max_nodes and max_hours",
    ),
    (
        "juwels_booster",
        1,
        {"account": None},
        "launch.account: cluster juwels_booster charges a project; give launch.account=PROJECT (yours: sacctmgr show "
        "associations user=$USER format=account)",
    ),
    (
        "discoverer_plus",
        1,
        {},
        "launch.qos: cluster discoverer_plus requires one; give launch.qos=NAME (yours: sacctmgr show associations "
        "user=$USER format=qos)",
    ),
    (
        "juwels_booster",
        1,
        {"kind": "jobset"},
        "launch.kind: jobset has no effect on Slurm (cluster juwels_booster); leave it out",
    ),
    ("slurm", 1, {"queue": "q"}, "launch.queue: q has no effect on Slurm (cluster slurm); leave it out"),
    (
        "gke",
        1,
        {"account": "a"},
        "launch.account: a has no effect on Kubernetes (cluster gke); leave it out",
    ),
    (
        "local",
        1,
        {"exclude": ["n1"]},
        "launch.exclude: ['n1'] has no effect on this machine (cluster local); leave it out",
    ),
    (
        "local",
        1,
        {"qos": "q"},
        "launch.qos: q has no effect on this machine (cluster local); leave it out",
    ),
]


@pytest.mark.parametrize(("cluster", "nodes", "launch", "message"), REFUSED)
def test_refused_with_the_arithmetic_and_what_fits(
    cluster: str, nodes: int, launch: dict, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        place(config(cluster, nodes, **launch))
    assert str(caught.value) == message


def test_more_devices_than_a_node_has() -> None:
    with pytest.raises(UserError, match=r"^resources.devices_per_node: 8 is more than the 4 of cluster"):
        place(config("juwels_booster", devices=8))


def test_accounts_get_the_sites_ending_once() -> None:
    assert place(config("deucalion_gpu", account="f2024")).account == "f2024g"
    assert place(config("deucalion_gpu", account="f2024g")).account == "f2024g"
    assert place(config("vega_gpu", account=None)).account is None


def test_elsewhere_there_are_no_queues() -> None:
    assert place(config("kubernetes", queue="team", time_limit=90)) == Placement(
        None, None, None, None, 90, "slipway:cuda", "kubernetes"
    )
    assert place(config("local", image="a.sif")) == Placement(None, None, None, None, None, "a.sif", "local")


def test_one_scheduler_each() -> None:
    both = config("slurm")
    section = config("kubernetes").cluster.kubernetes
    both = both.model_copy(update={"cluster": both.cluster.model_copy(update={"kubernetes": section})})
    with pytest.raises(UserError, match=r"^cluster: slurm has both sections"):
        place(both)


def test_a_queue_added_on_the_command_line() -> None:
    added = "+cluster.slurm.queues.big={partition:big,max_nodes:7,max_hours:1.5}"
    words = ["cluster=juwels_booster", "launch.account=a", "launch.partition=big", added]
    assert queue(place(compose([*words, "resources.nodes=7"]))) == ("big", "big", None, 90)
    with pytest.raises(UserError, match=r"^resources.nodes: 8 nodes are more than the 7 of queue big"):
        place(compose([*words, "resources.nodes=8"]))


def test_partitions_are_words() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Queue(partition="a b")
