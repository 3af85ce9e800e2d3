"""Which conversations share a sample."""

from hypothesis import given
from hypothesis import strategies as st

from slipway.data.chat.packing import packed

ROOM = 32


def by_search(lengths: list[int], room: int) -> list[list[int]]:
    """Best fit, longest first, by looking at every sample."""
    samples: list[list[int]] = []
    left: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [i for i, space in enumerate(left) if space >= lengths[number]]
        if fitting:
            best = min(fitting, key=lambda i: left[i])
        else:
            best = len(samples)
            samples.append([])
            left.append(room)
        samples[best].append(number)
        left[best] -= lengths[number]
    return samples


@given(lengths=st.lists(st.integers(1, ROOM), max_size=60))
def test_each_once_and_none_over(lengths: list[int]) -> None:
    samples = packed(lengths, ROOM)
    assert sorted(number for sample in samples for number in sample) == list(range(len(lengths)))
    rooms = [ROOM - sum(lengths[number] for number in sample) for sample in samples]
    assert all(sample for sample in samples)
    assert all(0 <= room < ROOM for room in rooms)
    # as full as a search through all samples makes them, whichever of equal ones it takes
    searched = by_search(lengths, ROOM)
    assert sorted(rooms) == sorted(ROOM - sum(lengths[number] for number in sample) for sample in searched)
    assert packed(lengths, ROOM) == samples


def test_by_hand() -> None:
    assert packed([], 8) == []
    assert packed([8, 8], 8) == [[0], [1]]
    # longest first: 6, 5, 3, 2, 1; the 2 fills up the 6, the 3 the 5
    assert packed([1, 5, 2, 6, 3], 8) == [[3, 2], [1, 4], [0]]
