"""Texts that go on: how often which token is drawn, and rows of different lengths beside each other."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slipway.models.generation import Said, go_on
from slipway.models.sampling import Dice, Sampling, distribution

LOGITS = np.log(np.array([0.4, 0.05, 0.3, 0.15, 0.1], np.float32))
DRAWS = 40_000


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0), [0.4, 0.05, 0.3, 0.15, 0.1]),
        (Sampling(0.5), [x**2 / 0.285 for x in (0.4, 0.05, 0.3, 0.15, 0.1)]),
        (Sampling(1.0, top_p=0.6), [0.4 / 0.7, 0, 0.3 / 0.7, 0, 0]),  # the one that crosses 0.6 is in
        (Sampling(1.0, top_k=1), [1, 0, 0, 0, 0]),
        (Sampling(1.0, top_k=9), [0.4, 0.05, 0.3, 0.15, 0.1]),
        (Sampling(1.0, top_p=0.5, top_k=2), [0.4 / 0.7, 0, 0, 0, 0]),  # 0.57 of what top-k leaves
    ],
)
def test_what_is_drawn_how_often(sampling: Sampling, expected: Sequence[float]) -> None:
    right = np.array(expected) / sum(expected)
    found = distribution(LOGITS, sampling)
    np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-12)
    dice = Dice(11, 0)
    counts = np.bincount([dice.draw(found) for _ in range(DRAWS)], minlength=len(right))
    assert not counts[right == 0].any()
    spread = np.sqrt(DRAWS * right * (1 - right))  # of a binomial
    assert (abs(counts - DRAWS * right) <= 4 * spread).all(), counts


@given(
    logits=st.lists(st.integers(-240, 240).map(lambda n: n / 8), min_size=1, max_size=40),
    temperature=st.floats(0.01, 10),
    top_p=st.floats(0.01, 1),
    top_k=st.none() | st.integers(1, 50),
)
def test_a_distribution(logits: list[float], temperature: float, top_p: float, top_k: int | None) -> None:
    numbers = np.array(logits, np.float32)
    found = distribution(numbers, Sampling(temperature, top_p, top_k))
    assert np.isclose(found.sum(), 1) and found[numbers.argmax()] == found.max()
    kept = np.flatnonzero(found)
    assert numbers[kept].min() >= np.delete(numbers, kept).max(initial=-np.inf)  # the likeliest are kept
    assert found[Dice(3, 1).draw(found)] > 0


class Chain:
    """A model of text of which each logit depends on all that a row has read, and on its order."""

    vocab_size, device = 7, torch.device("cpu")

    def logits(self, tokens: Tensor) -> Tensor:
        rows = []
        for row in tokens.tolist():
            seen, found = 1, []
            for token in row:
                seen = (seen * 31 + token + 1) % 1_000_003
                found.append(np.random.default_rng(seen).normal(size=self.vocab_size))
            rows.append(found)
        return torch.from_numpy(np.array(rows)).float()

    def begin(self, rows: int, length: int) -> "ChainReading":
        return ChainReading(self, rows, length)


class ChainReading:
    def __init__(self, chain: Chain, rows: int, length: int) -> None:
        self.chain, self.length, self.read_so_far = chain, length, torch.empty(rows, 0, dtype=torch.int64)

    def read(self, tokens: Tensor) -> Tensor:
        assert tokens.shape[1] == 1 or not self.read_so_far.shape[1]
        self.read_so_far = torch.cat([self.read_so_far, tokens], 1)
        assert self.read_so_far.shape[1] < self.length
        return self.chain.logits(self.read_so_far)[:, -1]


def plainly(prompt: Sequence[int], tokens: int, end: int, most: int | None) -> list[int]:
    """Greedily, by reading all anew for each token."""
    text = list(prompt)
    for _ in range(tokens):
        if (most is not None and len(text) >= most) or (text[-1] == end and len(text) > len(prompt)):
            break
        text.append(int(Chain().logits(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


def by_row(said: Sequence[Said], rows: int) -> list[list[Said]]:
    return [[one for one in said if one.row == row] for row in range(rows)]


PROMPTS = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(prompts=PROMPTS, tokens=st.integers(1, 8), end=st.integers(0, 6), most=st.none() | st.integers(3, 10))
def test_rows_are_as_if_alone(prompts: list[list[int]], tokens: int, end: int, most: int | None) -> None:
    said = list(go_on(Chain(), prompts, tokens, ends=[end], most=most))
    for prompt, row in zip(prompts, by_row(said, len(prompts)), strict=True):
        expected = plainly(prompt, tokens, end, most)
        assert [one.token for one in row] == expected
        ends = [one.end for one in row]
        assert ends[:-1] == [None] * (len(ends) - 1)
        if expected:
            assert ends[-1] == ("token" if expected[-1] == end else "length")


@settings(max_examples=30, deadline=None)
@given(prompts=PROMPTS, seed=st.integers(0, 5))
def test_chance_goes_by_seed_and_row(prompts: list[list[int]], seed: int) -> None:
    def drawn(texts: list[list[int]], number: int) -> list[list[int]]:
        said = list(go_on(Chain(), texts, 12, sampling=Sampling(1.5, seed=number)))
        return [[one.token for one in row] for row in by_row(said, len(texts))]

    assert drawn(prompts, seed) == drawn(prompts, seed)
    assert drawn(prompts, seed)[:1] == drawn(prompts[:1], seed)  # whatever the others are
    assert drawn([[1]], seed) != drawn([[1]], seed + 100)
