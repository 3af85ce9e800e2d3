"""Generated scenes: the same for the same seed, and built like the ground, the seasons and the weather."""

import numpy as np
import pytest

from slipway.data.imagery.chip import NODATA, Date
from slipway.data.imagery.generated import BANDS, CLASSES, Scene, scene
from slipway.data.imagery.generated.land import BUILT, CONIFER, CROPLAND, DECIDUOUS, GRASSLAND, WATER
from slipway.data.imagery.generated.sky import CLOUD, FILL, SHADOW

DAYS = [Date(2021, day) for day in range(15, 365, 25)]
BLUE, GREEN, RED, NIR, SWIR_1, SWIR_2 = range(6)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(seed, 96, DAYS) for seed in range(6)]


def test_shapes(scenes: list[Scene]) -> None:
    for one in scenes:
        assert one.pixels.shape == (len(DAYS), len(BANDS), 96, 96) and one.pixels.dtype == np.int16
        assert one.labels.shape == (96, 96) and one.labels.dtype == np.uint8
        assert one.fmask.shape == (len(DAYS), 96, 96) and one.fmask.dtype == np.uint8
        assert one.labels.max() < len(CLASSES)
        # the edge of the swath: no band is measured, and Fmask is filled
        beyond = (one.pixels == NODATA).all(axis=1)
        assert (beyond == (one.pixels == NODATA).any(axis=1)).all()
        assert (beyond == (one.fmask == FILL)).all()


def test_same_seed_same_scene(scenes: list[Scene]) -> None:
    again = scene(3, 96, DAYS)
    for one, other in zip(again, scenes[3], strict=True):
        np.testing.assert_array_equal(one, other)
    other = scene(4, 96, DAYS)
    assert (other.labels != again.labels).mean() > 0.3


def test_a_date_does_not_depend_on_the_others(scenes: list[Scene]) -> None:
    some = scene(2, 96, DAYS[3:6])
    np.testing.assert_array_equal(some.pixels, scenes[2].pixels[3:6])
    np.testing.assert_array_equal(some.fmask, scenes[2].fmask[3:6])
    np.testing.assert_array_equal(some.labels, scenes[2].labels)


def test_two_acquisitions_of_a_day_have_weather_of_their_own() -> None:
    twice = scene(1, 64, [DAYS[0], DAYS[0]])
    assert (twice.pixels[0] != twice.pixels[1]).mean() > 0.5


def test_statistics(scenes: list[Scene]) -> None:
    """Means as of HLS, within a wide range; every cover occurs."""
    pixels = np.concatenate([one.pixels.swapaxes(0, 1).reshape(6, -1) for one in scenes], axis=1)
    pixels = pixels[:, (pixels != NODATA).all(axis=0)].astype(float)
    assert pixels.mean(axis=1) == pytest.approx([1000, 1150, 1150, 2600, 2100, 1450], rel=0.3)
    assert (pixels.std(axis=1) > 600).all() and (pixels.std(axis=1) < 2000).all()
    assert pixels.min() >= -2000 and pixels.max() <= 16000
    share = np.bincount(np.concatenate([one.labels.ravel() for one in scenes]), minlength=6) / (6 * 96**2)
    assert share[CROPLAND] == pytest.approx(0.42, abs=0.15)
    assert (share > 0.02).all()


def test_seasons(scenes: list[Scene]) -> None:
    """Fields and deciduous forest are green in summer alone; conifers hardly change, water is dark in the infrared."""
    means = np.full((len(scenes), len(DAYS), len(CLASSES), 6), np.nan)
    for s, one in enumerate(scenes):
        for d in range(len(DAYS)):
            clear = (one.fmask[d] & (CLOUD | SHADOW) == 0) & (one.fmask[d] != FILL)
            for label in range(len(CLASSES)):
                chosen = clear & (one.labels == label)
                if chosen.sum() > 50:
                    means[s, d, label] = one.pixels[d][:, chosen].mean(axis=1)
    by_class = np.nanmean(means, axis=0)
    index = (by_class[..., NIR] - by_class[..., RED]) / (by_class[..., NIR] + by_class[..., RED])
    winter, summer = [0, 1, 13], [6, 7]
    for label, rise in ((CROPLAND, 0.25), (GRASSLAND, 0.1), (DECIDUOUS, 0.2)):
        assert np.nanmean(index[summer, label]) - np.nanmean(index[winter, label]) > rise, CLASSES[label]
    assert abs(np.nanmean(index[summer, CONIFER]) - np.nanmean(index[winter, CONIFER])) < 0.12
    assert np.nanmax(by_class[:, WATER, SWIR_1]) < np.nanmin(by_class[:, BUILT, SWIR_1])


def test_clouds_are_bright_and_throw_shadows(scenes: list[Scene]) -> None:
    cover, bright, dark, ground = [], [], [], []
    for one in scenes:
        for pixels, fmask in zip(one.pixels, one.fmask, strict=True):
            known = fmask != FILL
            cloudy, shaded = (fmask & CLOUD != 0) & known, (fmask & SHADOW != 0) & known
            cover.append(cloudy[known].mean() if known.any() else 0)
            bright.extend(pixels[BLUE][cloudy])
            dark.extend(pixels[NIR][shaded])
            ground.extend(pixels[NIR][known & ~cloudy & ~shaded])
    assert 0.3 < np.mean(np.array(cover) < 0.02) < 0.8, "days without clouds"
    assert max(cover) > 0.3
    assert np.mean(bright) > 3000
    assert np.mean(dark) < 0.75 * np.mean(ground)


def test_neighbours_are_alike(scenes: list[Scene]) -> None:
    """Fields, not noise: what lies side by side is mostly of one cover and of one brightness."""
    for one in scenes:
        assert (one.labels[:, 1:] == one.labels[:, :-1]).mean() > 0.7
        clear = next(i for i, mask in enumerate(one.fmask) if (mask & CLOUD == 0).mean() > 0.9)
        red = one.pixels[clear, RED].astype(float)
        assert np.corrcoef(red[:, 1:].ravel(), red[:, :-1].ravel())[0, 1] > 0.5
