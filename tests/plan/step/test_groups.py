import pytest
from hypothesis import given
from hypothesis import strategies as some

from slipway.models.work import Exchange
from slipway.plan.layout import Grid
from slipway.plan.step import groups
from slipway.plan.step.groups import Ring, ring
from slipway.plan.step.hardware import Hardware, Link, Rates

RATES = Rates(
    product_share=0.5,
    grouped_share=0.5,
    attention_share=0.5,
    attention_backward_share=0.5,
    memory_share=0.5,
)
HARDWARE = Hardware(
    device="none",
    peak_tflops=100,
    memory_gb_per_s=1000,
    rates=RATES,
    inside=Link(gb_per_s=100, share=1, latency_us=10, hop_us=0),
    between=Link(gb_per_s=10, share=1, latency_us=100, hop_us=0),
    inside_devices=8,
)


def test_groups_stand_where_the_order_of_ranks_puts_them() -> None:
    """tp-cp-ep-dp: with TP4 on nodes of 8, two of CP's ranks are on a node, and expert ranks stand as CP's do."""
    rings = groups.rings(Grid(tp=4, cp=4, ep=2, dp=4), 8)
    assert rings.tensor == Ring(4, 4)
    assert rings.context == Ring(4, 2)
    assert rings.expert == Ring(2, 2)
    assert rings.tensor_expert == Ring(8, 8)
    assert ring(16, 16, 8) == Ring(16, 1)


def test_inside_a_node() -> None:
    """A ring of 8 moves 7/8 of the message, an all_reduce twice."""
    size = 8e9
    assert groups.seconds("all_gather", size, Ring(8, 8), HARDWARE) == pytest.approx(10e-6 + 7e9 / 100e9)
    assert groups.seconds("all_reduce", size, Ring(8, 8), HARDWARE) == pytest.approx(10e-6 + 14e9 / 100e9)
    assert groups.seconds("send", size, Ring(2, 2), HARDWARE) == pytest.approx(10e-6 + 8e9 / 100e9)
    assert groups.seconds("all_gather", size, Ring(1, 1), HARDWARE) == 0


def test_between_nodes_a_nodes_ranks_share_its_links_out() -> None:
    """16 ranks on 2 nodes: half of the message comes in through 8 links; alone on each node: 15/16 through one."""
    size = 16e9
    together = groups.seconds("reduce_scatter", size, Ring(16, 8), HARDWARE)
    assert together == pytest.approx(110e-6 + max(15e9 / 100e9, 8e9 / 8 / 10e9))
    alone = groups.seconds("reduce_scatter", size, Ring(16, 1), HARDWARE)
    assert alone == pytest.approx(110e-6 + 15e9 / 10e9)


def test_each_rank_sends_its_own_tokens() -> None:
    """all_to_all over 2 nodes: half of what a rank hands out crosses, through its own link."""
    size = 8e9
    taken = groups.seconds("all_to_all", size, Ring(16, 8), HARDWARE)
    assert taken == pytest.approx(110e-6 + size / groups.ALL_TO_ALL / 2 / 10e9)
    # of 8 copies to random ranks, nearly always some go to the other node, and one crosses
    once = groups.seconds("all_to_all", size, Ring(16, 8), HARDWARE, copies=8)
    assert once == pytest.approx(110e-6 + size / groups.ALL_TO_ALL / 8 * (1 - 2**-8) / 10e9)


@given(
    kind=some.sampled_from(["all_gather", "reduce_scatter", "all_reduce", "all_to_all", "send"]),
    size=some.floats(1, 1e11),
    ranks=some.sampled_from([2, 4, 8, 16, 64, 512]),
    stride=some.sampled_from([1, 2, 4, 8, 32]),
    faster=some.floats(1, 10),
    link=some.sampled_from(["inside", "between"]),
)
def test_a_faster_link_never_takes_longer(kind, size, ranks, stride, faster, link) -> None:
    place = ring(ranks, stride, 8)
    old = getattr(HARDWARE, link)
    quick = HARDWARE.model_copy(update={link: old.model_copy(update={"gb_per_s": old.gb_per_s * faster})})
    assert groups.seconds(kind, size, place, quick) <= groups.seconds(kind, size, place, HARDWARE)
    exchange = Exchange(kind, "tensor", size)
    rings = groups.Rings(place, place, place, place)
    assert groups.of(exchange, rings, HARDWARE) == groups.seconds(kind, size, place, HARDWARE)
