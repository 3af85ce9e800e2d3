"""Which device a rank takes; what a real one does with two ranks on one GPU is NCCL's."""

import pytest

from refusals import refused
from slipway.ranks import device
from slipway.ranks.environment import Place


def place(local_rank: int, own_store: bool = False) -> Place:
    return Place(4 + local_rank, local_rank, 8, "n1", 1, 4, own_store)


@pytest.mark.parametrize(
    ("visible", "taken"),
    [(4, [0, 1, 2, 3]), (8, [0, 1, 2, 3]), (1, [0, 0, 0, 0]), (2, [0, 1, 0, 1])],
)
def test_the_device_of_each_rank(visible: int, taken: list[int]) -> None:
    found = [device.of_rank(place(local_rank), 4, visible) for local_rank in range(4)]
    assert [number for number, _ in found] == taken
    assert all(("peer-to-peer" in (line or "")) == (visible < 4) for _, line in found)


def test_no_device_is_a_mistake_to_mend() -> None:
    with refused("local rank 0", "GPU", use=["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"]):
        device.of_rank(place(0), 4, 0)


def test_ranks_of_one_parent_see_the_same_and_would_share() -> None:
    with refused("resources.devices_per_node", "devices_per_node", value=4, use="2"):
        device.of_rank(place(1, own_store=True), 4, 2)
    assert device.of_rank(place(1, own_store=True), 4, 4) == (1, None)
