"""Wall times in which nothing could be trained are refused with the arithmetic; doubtful ones are remarked."""

from dataclasses import replace

import pytest

from presets import large
from refusals import refused
from slipway.config.compose import compose
from slipway.launch import times
from slipway.launch.placement import place
from slipway.plan import make_plan

# A run of a known pace on 8 GPUs: 0.1 s a step at the peak, 0.29 s as expected.
PACED = [*large("gpt3_1_3b", 2, "juwels_booster"), "launch.account=a"]


def checked(*words: str) -> list[str]:
    config = compose(words)
    plan, placement = make_plan(config), place(config)
    times.check([plan], placement)
    return times.remarks(plan, placement)


@pytest.mark.parametrize(("signal", "preflight"), [(300, False), (30, False), (300, True)])
def test_a_segment_has_time_for_more_than_its_end(signal: int, preflight: bool) -> None:
    """What is taken leaves a minute to start in before Slurm's signal, which may come a minute early."""
    words = [f"cluster.slurm.signal_seconds={signal}", f"launch.preflight={str(preflight).lower()}"]
    plan = make_plan(compose(["cluster=slurm", "launch.time_limit=60", *words]))
    placement = place(plan.config)
    needed = signal + 60 + 60 + 180 * preflight
    for minutes in range(1, 12):
        if 60 * minutes >= needed:
            times.check([plan], replace(placement, minutes=minutes))
            continue
        with refused("launch.time_limit", needed, value=f"{minutes} min", use=-(-needed // 60)):
            times.check([plan], replace(placement, minutes=minutes))


def test_the_queues_own_limit_is_checked_too() -> None:
    queue = "cluster.slurm.queues.default.max_hours=0.1"
    with refused("queue default", value="6 min"):
        checked("cluster=slurm", queue)
    assert checked("cluster=slurm", "cluster.slurm.signal_seconds=65000") == []  # no limit is known


def test_a_step_longer_than_a_segment_is_refused() -> None:
    """Even devices at their peak need longer for one."""
    words = [*PACED, "training.global_batch_size=262144", "launch.time_limit=30"]
    with refused("launch.time_limit", value="30 min"):
        checked(*words)
    checked(*PACED, "training.global_batch_size=64", "launch.time_limit=30")


def test_fewer_nodes_than_are_asked_for_are_left() -> None:
    words = ["cluster=slurm", "cluster.nodes=4", "resources.nodes=3", "training.global_batch_size=6"]
    with refused("launch.exclude", 4, 2, 3):
        checked(*words, "launch.exclude=[n1,n2,n1]")
    checked(*words, "launch.exclude=[n1]")


def test_what_is_doubtful_is_remarked() -> None:
    words = [*PACED, "training.global_batch_size=64", "launch.time_limit=60", "training.steps=1000"]
    usual = [*words, "checkpoint.interval=10", "watch.hang_timeout_minutes=10"]
    assert checked(*usual) == []
    (hang,) = checked(*usual, "watch.hang_timeout_minutes=55")
    assert "watch.hang_timeout_minutes 55" in hang and "60 min 53 min" in hang
    saves, segments = checked(*usual, "training.steps=1000000", "checkpoint.interval=500000")
    assert "checkpoint.interval 500000" in saves and "launch.chain 10" in segments


def test_a_time_limit_that_nothing_would_keep_is_refused() -> None:
    with refused("launch.time_limit", value=60):
        place(compose(["cluster=local", "launch.time_limit=60"]))
