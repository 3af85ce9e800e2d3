"""A sample's random numbers: named by seed, split and draw alone, and independent of each other's."""

import subprocess
import sys

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from slipway.data.ledger import Draw
from slipway.data.randomness import generator, sample_seed

seeds = st.integers(0, 2**63)
splits = st.sampled_from(["training", "validation", "test"])
draws = st.builds(Draw, st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,5}\Z"), st.integers(0, 10**15))


def first(seed: int, split: str, draw: Draw) -> list[int]:
    return generator(seed, split, draw).integers(0, 2**63, 4).tolist()


@given(seeds, splits, draws, seeds, splits, draws)
def test_other_draws_have_other_numbers(
    seed: int, split: str, draw: Draw, other_seed: int, other_split: str, other_draw: Draw
) -> None:
    assume((seed, split, draw) != (other_seed, other_split, other_draw))
    assert first(seed, split, draw) != first(other_seed, other_split, other_draw)
    assert sample_seed(seed, split, draw) != sample_seed(other_seed, other_split, other_draw)


@given(seeds, splits, draws)
def test_the_same_draw_has_the_same_numbers(seed: int, split: str, draw: Draw) -> None:
    """However often they are asked for, and whatever was drawn of others in between."""
    before = first(seed, split, draw)
    generator(seed, split, Draw(draw.source, draw.number + 1)).integers(0, 9, 100)
    np.random.default_rng(0).integers(0, 9, 100)
    assert first(seed, split, draw) == before
    assert sample_seed(seed, split, draw) == sample_seed(seed, split, draw) < 2**63


def test_the_numbers_never_change() -> None:
    """In a process of its own, whose hashes of text differ; nothing but the first call imports numpy."""
    program = (
        "import sys\nfrom slipway.data.randomness import generator, sample_seed\n"
        "from slipway.data.ledger import Draw\ndraw = Draw('a', 7)\nprint(sample_seed(5, 'training', draw))\n"
        "assert not {'numpy', 'torch'} & sys.modules.keys()\n"
        "print(*generator(5, 'training', draw).integers(0, 1000, 6))\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["8672897836741507973", "809 971 454 322 394 246", ""]


def test_streams_of_neighbours_are_independent() -> None:
    """Of 4,000 draws in a row: uniform, uncorrelated within a stream, between streams and with the seeds."""
    count, length = 4000, 64
    found = np.array([generator(1, "training", Draw("a", i)).random(length) for i in range(count)])
    assert len(np.unique(found)) == found.size  # no stream is another's, begun elsewhere
    limit = 5 / (count * length) ** 0.5
    assert abs(found.mean() - 0.5) < limit * 12**-0.5
    centred = found - 0.5
    variance = 1 / 12
    for shifted in (centred[:, :-1] * centred[:, 1:], centred[:-1] * centred[1:]):
        assert abs(shifted.mean() / variance) < 5 / shifted.size**0.5
    places, _ = np.histogram(found, bins=100, range=(0, 1))
    expected = found.size / 100
    assert ((places - expected) ** 2 / expected).sum() < 99 + 5 * (2 * 99) ** 0.5
    bits = np.array([sample_seed(1, "training", Draw("a", i)) for i in range(count)])
    ones = np.array([(bits >> bit) & 1 for bit in range(63)]).mean(1)
    assert abs(ones - 0.5).max() < 5 * 0.5 / count**0.5
