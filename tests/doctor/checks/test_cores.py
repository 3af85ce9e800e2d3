from pathlib import Path

import pytest

from doctor.looking import looking
from slipway.doctor.checks import cores


def ranks(*sets: list[int]) -> list[dict]:
    return [{"rank": number, "local_rank": number, "cores": given} for number, given in enumerate(sets)]


@pytest.mark.parametrize(
    ("sets", "online", "more", "status"),
    [
        (([0, 1], [2, 3]), 4, (), "ok"),
        (([0], [0]), 4, (), "fault"),  # two on one core
        (([0], [1]), 4, ("cluster.node.cores_per_device=2",), "fault"),  # narrow
        (
            ([0, 1, 2, 3], [0, 1, 2, 3]),
            4,
            ("cluster.node.cores_per_device=2",),
            "ok",
        ),  # CPUs: unbound is fine
        (([0, 1, 2, 3], [0, 1, 2, 3]), 4, ("cluster.device.kind=cuda",), "warning"),  # GPUs: not bound
        (([0], [0]), 1, (), "warning"),  # a machine of one core
        (([0, 1], [0, 1]), 64, ("cluster.node.cores_per_device=2",), "fault"),
        (([0, 1], [2, 3]), 4, ("cluster.node.cpu_masks=['0x3','0xc']",), "ok"),
        (([2, 3], [0, 1]), 4, ("cluster.node.cpu_masks=['0x3','0xc']",), "fault"),
    ],
)
def test_cores_of_ranks(sets: tuple, online: int, more: tuple, status: str) -> None:
    found = cores.binding(ranks(*sets), online, looking(Path("/"), *more).config, "n3")
    assert (found.status, found.node) == (status, "n3"), found


def test_it_says_which_ranks_share_which_cores() -> None:
    found = cores.binding(ranks([0], [0], [4, 5, 6]), 8, looking().config, "n1")
    assert found.saw.startswith("ranks 0-1 share cores 0, rank 2 on cores 4-6")


@pytest.mark.parametrize(("limit", "status"), [(-1, "ok"), (65536 * 1024, "fault"), (2**37, "ok")])
def test_memory_that_may_be_locked(limit: int, status: str) -> None:
    assert cores.memlock(looking(Path("/"), "cluster.network.fabric=infiniband"), limit).status == status
    assert cores.memlock(looking(Path("/"), "cluster.network.fabric=ethernet"), limit).status == "skipped"


@pytest.mark.parametrize(
    ("limits", "world", "status"),
    [
        ((1024, 4096), 4, "warning"),
        ((4096, 4096), 4, "ok"),
        ((4096, -1), 4000, "fault"),
        ((-1, -1), 20000, "ok"),
    ],
)
def test_files_that_may_be_open(limits: tuple[int, int], world: int, status: str) -> None:
    assert cores.open_files(looking(ranks=world, files_limit=limits)).status == status
