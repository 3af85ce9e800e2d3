"""Packing of conversations into samples: best fit, longest first. Pure Python.

Each conversation goes, whole, into the sample with the least room that still takes it, else into a new one; of equal
ones to the one that was begun first. The longest come first, of equal ones in the order of the sources. (Best-fit
decreasing: at most 11/9 of the fewest samples and a constant; Johnson et al. 1974, SIAM J. Comput. 3(4).)
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence


def packed(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Return the numbers of the conversations in each sample. lengths: the places that each takes, 1 to room."""
    samples: list[list[int]] = []
    with_room: dict[int, deque[int]] = {}  # samples by the room that is left in them, first begun first
    rooms: list[int] = []  # the keys, in order
    for number in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[number]
        assert 1 <= length <= room, (number, length)
        place = bisect_left(rooms, length)
        if place == len(rooms):
            sample, left = len(samples), room
            samples.append([])
        else:
            left = rooms[place]
            sample = with_room[left].popleft()
            if not with_room[left]:
                del with_room[left], rooms[place]
        samples[sample].append(number)
        if left := left - length:
            if left not in with_room:
                with_room[left] = deque()
                insort(rooms, left)
            with_room[left].append(sample)
    return samples
