"""What is hidden of a sample: exactly so many patches, all alike, by the sample's seed alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import whole_numbers
from slipway.models.mae import masks
from slipway.models.mae.config import Metadata

SEED = st.integers(0, 2**63 - 1)
SIZES = st.integers(2, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


def words(seed: int, purpose: int, number: int) -> list[int]:
    """The same by whole numbers without bounds."""
    blocks = range(-(-number // 4))
    each = [
        word
        for block in blocks
        for word in whole_numbers.philox((block, purpose, seed % 2**32, seed >> 32), masks.KEY)
    ]
    return each[:number]


@given(st.lists(SEED, min_size=1, max_size=4), SIZES)
def test_exactly_so_many_are_visible_and_all_others_hidden(seeds: list[int], sizes: tuple[int, int]) -> None:
    patches, visible = sizes
    mask = masks.draw(torch.tensor(seeds), patches, visible)
    assert mask.visible.shape == (len(seeds), visible)
    for seed, seen, hidden in zip(seeds, mask.visible.tolist(), mask.hidden.tolist(), strict=True):
        assert sorted(seen + hidden) == list(range(patches))
        assert seen == sorted(seen) and hidden == sorted(hidden)
        drawn = words(seed, 0, patches)
        assert seen == sorted(sorted(range(patches), key=lambda i: (drawn[i], i))[:visible])


@given(st.lists(SEED, min_size=2, max_size=6), st.data())
def test_a_sample_is_masked_alike_in_every_batch(seeds: list[int], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(seeds))))
    together = masks.draw(torch.tensor(seeds), 60, 15)
    for place, number in enumerate(order):
        alone = masks.draw(torch.tensor([seeds[number]]), 60, 15)
        mixed = masks.draw(torch.tensor([seeds[i] for i in order]), 60, 15)
        for one, other, whole in zip(alone, mixed, together, strict=True):
            assert torch.equal(one[0], other[place]) and torch.equal(one[0], whole[number])


def test_every_patch_is_visible_equally_often_and_independently_of_its_neighbours() -> None:
    samples, patches, visible = 40_000, 24, 6
    mask = masks.draw(torch.arange(samples) * 977, patches, visible)
    seen = torch.zeros(samples, patches).scatter(1, mask.visible, 1.0).double()
    share = visible / patches
    off = (samples * share * (1 - share)) ** 0.5  # a standard deviation of each count
    assert float((seen.sum(0) - samples * share).abs().max()) < 4.5 * off
    together = seen.T @ seen
    pairs = together[~torch.eye(patches, dtype=torch.bool)]
    share = visible * (visible - 1) / (patches * (patches - 1))
    off = (samples * share * (1 - share)) ** 0.5
    assert float((pairs - samples * share).abs().max()) < 4.5 * off


@given(SEED, st.sampled_from([("time", 1), ("location", 2)]), st.floats(0, 0.99))
def test_metadata_is_kept_by_a_word_of_its_own(seed: int, what: tuple[Metadata, int], dropped: float) -> None:
    name, purpose = what
    [kept] = masks.keeps(masks.draw(torch.tensor([seed]), 9, 3), name, dropped).tolist()
    assert kept == (words(seed, purpose, 1)[0] >= round(dropped * 2**32))


@pytest.mark.parametrize("dropped", [0.0, 0.1, 0.5])
def test_the_share_of_samples_that_drop_metadata(dropped: float) -> None:
    seeds = torch.arange(20_000) * 12345
    mask = masks.draw(seeds, 4, 1)
    time, location = (masks.keeps(mask, name, dropped).double() for name in ("time", "location"))
    for kept in (time, location):
        assert float(kept.mean()) == pytest.approx(1 - dropped, abs=0.01)
    assert float((time * location).mean()) == pytest.approx((1 - dropped) ** 2, abs=0.012)
