"""The linear probe: its arithmetic against numbers computed by hand and by plain loops, and that it can learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.models.mae.config import Config
from slipway.models.mae.labelled import CHIPS_ACROSS, clearer, dates, labelled
from slipway.models.mae.probe import Probe, accuracy, ious, mean_iou

MODEL = Config(
    name="small",
    image_size=8,
    num_frames=2,
    num_bands=6,
    patch_size=4,
    num_layers=1,
    hidden_size=16,
    num_attention_heads=1,
    decoder_num_layers=1,
    decoder_hidden_size=16,
    decoder_num_attention_heads=1,
)


def counted(truth: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[float, float]:
    """(mean IoU, accuracy) by sets of pixels, with no matrix."""
    found = []
    for one in range(classes):
        a, b = set(np.flatnonzero(truth == one)), set(np.flatnonzero(predicted == one))
        if a | b:
            found.append(len(a & b) / len(a | b))
    return sum(found) / len(found), float((truth == predicted).mean())


@given(st.integers(2, 6), st.integers(1, 200), st.integers(0, 2**31))
def test_measures_are_those_of_sets_of_pixels(classes: int, pixels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, predicted = random.integers(0, random.integers(1, classes + 1), (2, pixels))
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    for t, p in zip(truth, predicted, strict=True):
        matrix[t, p] += 1
    assert (mean_iou(matrix), accuracy(matrix)) == pytest.approx(counted(truth, predicted, classes))


def test_a_class_that_is_nowhere_does_not_count() -> None:
    matrix = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert ious(matrix) == [3 / 4, 4 / 5, None]
    assert mean_iou(matrix) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert ious(torch.tensor([[3, 0, 1], [0, 4, 0], [0, 0, 0]]))[2] == 0, (
        "predicted and never true: it counts"
    )


def test_the_confusion_is_of_logits_brought_to_pixels_bilinearly() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(5, 2, 3, 7), torch.randint(0, 4, (5, 8, 12))
    probe = Probe(features, labels, 4, seed=3)
    flat = (features.double().flatten(0, 2) - features.double().mean((0, 1, 2))).numpy()
    deviation = np.sqrt(flat.var(0) + 1e-6)
    coarse = (flat / deviation) @ probe.weight.detach().double().numpy().T + probe.bias.detach().numpy()
    coarse = coarse.reshape(5, 2, 3, 4)
    matrix = torch.zeros(4, 4, dtype=torch.int64)
    for n in range(5):
        for y in range(8):
            for x in range(12):
                wide = bilinear(coarse[n], (y + 0.5) / 4 - 0.5, (x + 0.5) / 4 - 0.5)
                matrix[labels[n, y, x], wide.argmax()] += 1
    assert (probe.confusion(features, labels) == matrix).all()


def bilinear(grid: np.ndarray, y: float, x: float) -> np.ndarray:
    """Between the centres of cells; beyond the outermost centres as on them."""
    y, x = min(max(y, 0), grid.shape[0] - 1), min(max(x, 0), grid.shape[1] - 1)
    top, left = min(int(y), grid.shape[0] - 2), min(int(x), grid.shape[1] - 2)
    v, u = y - top, x - left
    rows = (1 - v) * grid[top] + v * grid[top + 1]
    return (1 - u) * rows[left] + u * rows[left + 1]


def test_it_learns_what_is_linear_and_scales_do_not_matter() -> None:
    torch.manual_seed(1)
    features = torch.randn(64, 2, 2, 6)
    classes = (features[..., :3] * torch.tensor([1.0, -1.0, 0.5])).argmax(-1)
    labels = classes.repeat_interleave(2, 1).repeat_interleave(2, 2)
    scaled = features * torch.tensor([1e3, 1.0, 1e-2, 1.0, 5.0, 1.0]) + 40
    results = [Probe(one, labels, 3, seed=0).confusion(one, labels) for one in (features, scaled)]
    assert all(accuracy(one) > 0.75 for one in results), "blurred between patches, so never all of it"
    assert accuracy(results[1]) == pytest.approx(accuracy(results[0]), abs=0.02)
    shuffled = labels[torch.randperm(64)]
    assert accuracy(Probe(features, shuffled, 3, seed=0).confusion(features, labels)) < 0.55


def test_the_same_seed_fits_the_same_probe() -> None:
    torch.manual_seed(2)
    features, labels = torch.randn(48, 2, 2, 5), torch.randint(0, 3, (48, 4, 4))
    first, again, other = (Probe(features, labels, 3, seed).weight.detach() for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_labelled_chips_follow_from_their_names_and_join_to_scenes() -> None:
    chips, again, others = (labelled(MODEL, (name,), 2) for name in ("fit", "fit", "measure"))
    number = 2 * CHIPS_ACROSS**2
    assert chips.pixels.shape == (number, 2, 6, 8, 8) and chips.labels.shape == (number, 8, 8)
    assert chips.dates.shape == (number, 2, 2) and chips.location.shape == (number, 2)
    assert all((a == b).all() for a, b in zip(chips, again, strict=True))
    assert (chips.pixels != others.pixels).any() and (chips.labels != others.labels).any()
    whole = chips.labels[: CHIPS_ACROSS**2].reshape(CHIPS_ACROSS, CHIPS_ACROSS, 8, 8)
    inner = np.abs(np.diff(whole.astype(int), axis=3)).astype(bool).mean()
    across = (whole[:, 1:, :, 0] != whole[:, :-1, :, -1]).mean()
    assert across == pytest.approx(inner, abs=0.15), "neighbours in the scene are neighbours among the chips"


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_dates_are_in_order_and_of_two_the_clearer_is_taken(number: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    early, late = dates(random, number)
    assert early + late == sorted(early) + sorted(late)
    assert all(a < b for a, b in zip(early, late, strict=True))
    assert all(b < a for b, a in zip(late, early[1:], strict=False))
    cover = random.random(2 * number)
    fmask = (random.random((2 * number, 40, 40)) < cover[:, None, None]).astype(np.uint8) * 0b1010
    chosen = clearer(fmask, number)
    for i, one in enumerate(chosen):
        other = number + i if one == i else i
        assert {one, other} == {i, number + i}
        assert math.fsum(fmask[one].ravel()) <= math.fsum(fmask[other].ravel())
