import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusals import holds, refused
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


# What the profiles say of the sites; the rule itself is the property below.
PLACED = [
    ("juwels_booster", 385, {}, ("largebooster", "largebooster", None, 1440)),
    ("juwels_booster", 4, {"partition": "develbooster"}, ("develbooster", "develbooster", None, 120)),
    ("lumi_g", 4, {"time_limit": "2-12:00:00"}, ("small-g", "small-g", None, 3600)),
    ("leonardo_booster", 65, {}, ("bprod", "boost_usr_prod", "boost_qos_bprod", 1440)),
    (
        "leonardo_booster",
        65,
        {"partition": "boost_usr_prod"},
        ("bprod", "boost_usr_prod", "boost_qos_bprod", 1440),
    ),
    ("leonardo_booster", 1, {"qos": "boost_qos_dbg"}, ("dbg", "boost_usr_prod", "boost_qos_dbg", 30)),
    ("leonardo_booster", 1, {"qos": "ours"}, ("prod", "boost_usr_prod", "ours", 1440)),
    ("marenostrum5_acc", 1, {"qos": "acc_bsc"}, ("acc_ehpc", "acc", "acc_bsc", 4320)),
    ("discoverer_plus", 1, {"qos": "p1"}, ("common", "common", "p1", 240)),
    ("slurm", 3, {}, ("default", None, None, None)),
    ("slurm", 3, {"partition": "main"}, (None, "main", None, None)),
]


@pytest.mark.parametrize(("cluster", "nodes", "launch", "expected"), PLACED)
def test_sites(cluster: str, nodes: int, launch: dict, expected: tuple) -> None:
    placement = place(config(cluster, nodes, **launch))
    assert queue(placement) == expected
    assert (placement.scheduler, placement.image) == ("slurm", "slipway.sif")


@st.composite
def sites(draw: st.DrawFn) -> RunConfig:
    """A run of any size on a site with any queues, on a partition of it or on none in particular."""
    whole = draw(st.none() | st.integers(1, 8))
    queues = {}
    for number in range(draw(st.integers(1, 4))):
        fewest = draw(st.integers(1, 5))
        queues[f"q{number}"] = Queue(
            partition=draw(st.sampled_from(["p0", "p1"])),
            min_nodes=fewest,
            max_nodes=draw(st.none() | st.integers(fewest, 8)),
            max_hours=draw(st.none() | st.sampled_from([0.5, 1, 2])),
        )
    run = config(
        "slurm",
        draw(st.integers(1, whole or 9)),
        partition=draw(st.none() | st.sampled_from([*queues, *{one.partition for one in queues.values()}])),
        time_limit=draw(st.none() | st.sampled_from([1, 30, 31, 60, 90, 120, 121])),
    )
    assert run.cluster.slurm is not None
    slurm = run.cluster.slurm.model_copy(update={"queues": queues})
    return run.model_copy(update={"cluster": run.cluster.model_copy(update={"slurm": slurm, "nodes": whole})})


@settings(max_examples=300)
@given(sites())
def test_the_first_queue_that_fits_is_taken_and_none_else(run: RunConfig) -> None:
    assert run.cluster.slurm is not None
    nodes, minutes, named = run.resources.nodes, run.launch.time_limit or 0, run.launch.partition
    every = run.cluster.slurm.queues
    fit = [
        name
        for name, one in every.items()
        if one.min_nodes <= nodes <= (one.max_nodes or run.cluster.nodes or nodes)
        and minutes <= 60 * (one.max_hours or 24)
    ]
    asked = [name for name in fit if named in (None, name, every[name].partition)]
    if asked:
        taken = every[asked[0]]
        given_minutes = minutes or (taken.max_hours and int(60 * taken.max_hours))
        assert queue(place(run)) == (asked[0], taken.partition, None, given_minutes)
        return
    with pytest.raises(UserError) as caught:
        place(run)
    error = caught.value
    assert (error.path, error.value) in [("resources.nodes", nodes), ("launch.time_limit", f"{minutes} min")]
    if fit:  # what it names instead is taken
        assert holds(error.use, f"launch.partition={fit[0]}")
        elsewhere = run.launch.model_copy(update={"partition": fit[0]})
        assert place(run.model_copy(update={"launch": elsewhere})).queue_name == fit[0]
    else:
        assert "launch.partition" not in error.use


REFUSED = [
    ("juwels_booster", 937, {}, "resources.nodes", 937, ["936"], []),
    (
        "juwels_booster",
        500,
        {"partition": "booster"},
        "resources.nodes",
        500,
        ["384", "booster"],
        ["385 to 936"],
    ),
    (
        "juwels_booster",
        1,
        {"time_limit": "24:01:00"},
        "launch.time_limit",
        "1441 min",
        ["24.0167 h", "booster"],
        ["24 h"],
    ),
    (
        "leonardo_booster",
        1,
        {"qos": "boost_qos_dbg", "time_limit": 60},
        "launch.time_limit",
        "60 min",
        ["0.5 h", "dbg"],
        ["launch.partition=prod", "launch.qos=null", "1 to 64"],
    ),
    (
        "leonardo_booster",
        257,
        {},
        "resources.nodes",
        257,
        ["256", "bprod"],
        ["1 to 64", "65 to 256", "1 to 8"],
    ),
    (
        "juwels_booster",
        1,
        {"partition": "devel"},
        "launch.partition",
        "devel",
        ["juwels_booster"],
        ["develbooster", "largebooster", "cluster.slurm.queues.devel={partition:devel}"],
    ),
    (
        "juwels_booster",
        1,
        {"account": None},
        "launch.account",
        None,
        [],
        ["launch.account=PROJECT", "sacctmgr"],
    ),
    ("discoverer_plus", 1, {}, "launch.qos", None, ["discoverer_plus"], ["launch.qos=NAME", "sacctmgr"]),
    ("juwels_booster", 1, {"kind": "jobset"}, "launch.kind", "jobset", ["Slurm"], []),
    ("slurm", 1, {"queue": "q"}, "launch.queue", "q", ["Slurm"], []),
    ("gke", 1, {"account": "a"}, "launch.account", "a", ["Kubernetes", "gke"], []),
    ("local", 1, {"exclude": ["n1"]}, "launch.exclude", ["n1"], ["local"], []),
    ("local", 1, {"qos": "q"}, "launch.qos", "q", ["local"], []),
]


@pytest.mark.parametrize(("cluster", "nodes", "launch", "path", "value", "facts", "use"), REFUSED)
def test_refused_with_the_arithmetic_and_what_fits(
    cluster: str, nodes: int, launch: dict, path: str, value: object, facts: list[str], use: list[str]
) -> None:
    with refused(path, *facts, value=value, use=use):
        place(config(cluster, nodes, **launch))


def test_more_devices_than_a_node_has() -> None:
    with refused("resources.devices_per_node", 4, value=8):
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
    with refused("cluster", "kubernetes", value="slurm"):
        place(both)


def test_a_queue_added_on_the_command_line() -> None:
    added = "+cluster.slurm.queues.big={partition:big,max_nodes:7,max_hours:1.5}"
    words = ["cluster=juwels_booster", "launch.account=a", "launch.partition=big", added]
    assert queue(place(compose([*words, "resources.nodes=7"]))) == ("big", "big", None, 90)
    with refused("resources.nodes", 7, "big", value=8):
        place(compose([*words, "resources.nodes=8"]))


def test_partitions_are_words() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Queue(partition="a b")
