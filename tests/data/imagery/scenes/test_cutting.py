"""Chips are exactly the pixels of their source, cut by rasterio and numpy apart from Slipway."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import from_bounds

from refusals import refused
from scene_files import BANDS, CLEAR, DAYS, PLACE, chips_of, config, pixels_of, write_hls, write_raster
from slipway.data.imagery.chip import NODATA, Date
from slipway.data.imagery.generated.granules import Place
from slipway.data.imagery.preparation import prepare
from slipway.data.imagery.scenes.ground import CELL

pytestmark = pytest.mark.usefixtures("here")

NAMES = {"L30": ("B02", "B03", "B04", "B05", "B06", "B07"), "S30": ("B02", "B03", "B04", "B8A", "B11", "B12")}


def independent_cut(folder: Path, row: dict, size: int) -> np.ndarray:
    """A chip by its table's row: rasterio's windows of each band, by coordinates."""
    a, _, c, _, e, f = row["transform"]
    chip = []
    for name in row["scenes"]:
        granule = name.decode()
        frames = []
        for band in NAMES[granule.split(".")[1]]:
            with rasterio.open(folder / f"{granule}.{band}.tif") as file:
                assert file.crs.to_epsg() == row["epsg"] and (a, e) == (file.transform.a, file.transform.e)
                window = from_bounds(c, f + e * size, c + a * size, f, file.transform)
                values = file.read(1, window=window.round_offsets().round_lengths())
            frames.append(np.where(values == -9999, NODATA, values))
        with rasterio.open(folder / f"{granule}.Fmask.tif") as file:
            mask = file.read(1, window=window.round_offsets().round_lengths())
        chip.append(np.where(mask == 255, NODATA, np.array(frames)))
    return np.array(chip)


def test_chips_equal_an_independent_cut(tmp_path: Path) -> None:
    """With clouds, edges of the swath and two sensors, over two tiles in different zones."""
    folder = tmp_path / "in"
    other = Place(8, "33UUQ", 32633, 500_010.0, 5_600_010.0)
    from slipway.data.imagery.generated import scene

    for place, days in ((PLACE, DAYS), (other, DAYS[:4])):
        found = scene(place.seed, 100, days)
        half = len(days) // 2
        for sensor, part in (("L30", slice(0, half)), ("S30", slice(half, None))):
            write_hls(folder, days[part], place, sensor, found.pixels[part], found.fmask[part])
    data = config(tmp_path / "out", folder, min_valid=0.3, max_cloud=0.8)
    record = prepare(data, progress=False).sources["some"]
    chips = chips_of(tmp_path / "out")
    assert len(chips) == record.splits["training"].chips > 9
    assert {int(row["epsg"]) for _, row in chips} == {32632, 32633}
    missing = 0
    for pixels, row in chips:
        np.testing.assert_array_equal(pixels, independent_cut(folder, row, 32))
        zones = {name.decode().split(".")[2][1:3] for name in row["scenes"]}
        assert zones == {str(row["epsg"] % 100)}, "a chip never mixes zones"
        names = [name.decode() for name in row["scenes"]]
        assert [f"{year}{day:03}" for year, day in row["dates"]] == [name.split(".")[3][:7] for name in names]
        valid = (pixels != NODATA).all(axis=1).mean(axis=(1, 2))
        np.testing.assert_allclose(row["valid"], valid, rtol=1e-6)
        assert (valid >= 0.3).all() and (row["cloudy"] <= 0.8).all()
        missing += int((pixels == NODATA).sum())
    assert missing, "the edge of a swath was cut, too"
    # over all chips no pixel of an acquisition is used twice
    used = [(name, *row["transform"][[2, 5]]) for _, row in chips for name in row["scenes"]]
    assert len(used) == len(set(used))


def test_where_a_chip_lies(tmp_path: Path) -> None:
    from rasterio.warp import transform

    write_hls(tmp_path / "in")
    prepare(config(tmp_path / "out", tmp_path / "in"), progress=False)
    chips = chips_of(tmp_path / "out")
    assert {tuple(row["transform"][[2, 5]]) for _, row in chips} == {
        (PLACE.left + 960 * column, PLACE.top - 960 * row) for row in (0, 1) for column in (0, 1)
    }
    for _, row in chips:
        a, _, c, _, e, f = row["transform"]
        longitude, latitude, *_ = transform("EPSG:32632", "EPSG:4326", [c + 16 * a], [f + 16 * e])
        assert row["longitude"] == pytest.approx(longitude[0]) and row["latitude"] == pytest.approx(
            latitude[0]
        )
        south, west = row["latitude"] // CELL * CELL, row["longitude"] // CELL * CELL
        assert row["place"].decode() == f"{south:04.1f}N {west:05.1f}E"


def test_of_a_day_the_clearer_acquisition_is_taken(tmp_path: Path) -> None:
    """L30 and S30 of one day are one date; each window takes the better one."""
    days = DAYS[:2]
    pixels = pixels_of(days)
    cloudy = np.full((2, 64, 64), CLEAR, np.uint8)
    cloudy[:, :32, :10] |= 1 << 1  # of the upper left window, less than a third
    write_hls(tmp_path / "in", days, sensor="L30", pixels=pixels, fmask=cloudy)
    write_hls(tmp_path / "in", days, sensor="S30", pixels=pixels + np.int16(1))
    prepare(config(tmp_path / "out", tmp_path / "in"), progress=False)
    chips = chips_of(tmp_path / "out")
    assert len(chips) == 4
    for _, row in chips:
        upper_left = tuple(row["transform"][[2, 5]]) == (PLACE.left, PLACE.top)
        sensors = {name.decode().split(".")[1] for name in row["scenes"]}
        assert sensors == ({"S30"} if upper_left else {"L30"})
        assert row["dates"].tolist() == [list(day) for day in days]
        assert (row["cloudy"] == 0).all()


@pytest.mark.parametrize(
    ("value", "is_cloud"), [(1 << 1, True), (1 << 2, False), (1 << 3, True), (1 << 4, False)]
)
def test_what_fmask_calls_cloud(tmp_path: Path, value: int, is_cloud: bool) -> None:
    """Clouds and shadows (bits 1 and 3), neither what is beside them nor snow."""
    fmask = np.full((2, 64, 64), CLEAR, np.uint8)
    fmask[:, :16] |= value
    write_hls(tmp_path / "in", DAYS[:2], fmask=fmask)
    prepare(config(tmp_path / "out", tmp_path / "in"), progress=False)
    for _, row in chips_of(tmp_path / "out"):
        upper = row["transform"][5] == PLACE.top
        assert row["cloudy"].tolist() == ([0.5, 0.5] if upper and is_cloud else [0, 0])


def test_windows_that_give_no_chip_are_counted(tmp_path: Path) -> None:
    days = DAYS[:2]
    pixels, fmask = pixels_of(days), np.full((2, 64, 64), CLEAR, np.uint8)
    fmask[0, :32, :32] |= 1 << 1  # all under clouds at one date
    fmask[:, :32, 32:] |= 1 << 3  # all in shadow at both
    pixels[:, 2, 32:, :32] = NODATA  # a band is missing
    write_hls(tmp_path / "in", days, pixels=pixels, fmask=fmask)
    record = prepare(config(tmp_path / "out", tmp_path / "in"), progress=False).sources["some"]
    assert record.splits["training"].chips == 1
    assert record.chips_left_out == {
        "windows measured too little": 1,
        "windows under too many clouds": 1,
        "windows with too few dates that fit": 1,
    }
    with refused("data.sources.some", "data.min_valid", 2, 3):
        prepare(config(tmp_path / "none", tmp_path / "in", num_frames=3), progress=False)
    assert not (tmp_path / "none").exists()


def test_dates_are_in_order_whatever_the_files_names(tmp_path: Path) -> None:
    """Folders that sort otherwise than the dates do; and a year that comes before the other."""
    days = [Date(2021, 340), Date(2022, 20)]
    write_hls(tmp_path / "in/a", days[1:], pixels=pixels_of(days)[1:])
    write_hls(tmp_path / "in/b", days[:1], pixels=pixels_of(days)[:1])
    prepare(config(tmp_path / "out", tmp_path / "in"), progress=False)
    for _, row in chips_of(tmp_path / "out"):
        assert row["dates"].tolist() == [[2021, 340], [2022, 20]]


def test_neighbouring_tiles_share_no_ground_across_places(tmp_path: Path) -> None:
    """Tiles that overlap over the border of two cells: whatever the split, no ground is in two."""
    from rasterio.warp import transform

    # a border of cells, 8.0 degrees east, runs through both tiles
    (x,), (y,), *_ = transform("EPSG:4326", "EPSG:32632", [8.0], [50.25])
    left, top = x // 30 * 30 - 40 * 30, y // 30 * 30
    one, other = (
        PLACE._replace(left=left, top=top),
        PLACE._replace(tile="32UNV", left=left + 20 * 30, top=top),
    )
    for place in (one, other):
        write_hls(tmp_path / "in", DAYS[:2], place, size=96)
    record = prepare(config(tmp_path / "out", tmp_path / "in"), progress=False).sources["some"]
    left_out = record.chips_left_out["windows between places on ground of several tiles"]
    chips = chips_of(tmp_path / "out")
    assert left_out and len(chips) == 18 - left_out
    boxes = [(row["transform"][2], row["transform"][5], row["place"]) for _, row in chips]
    assert len({place for _, _, place in boxes}) == 2
    for a, b, place in boxes:
        for c, d, another in boxes:
            if abs(a - c) < 960 and abs(b - d) < 960:
                assert place == another


def test_rows_in_units_of_any_size_give_the_same_chips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipway.data.imagery import sources

    write_hls(tmp_path / "in", size=96)
    prepare(config(tmp_path / "one", tmp_path / "in"), progress=False)
    monkeypatch.setattr(sources, "UNIT_MEMORY", 1)
    prepare(config(tmp_path / "rows", tmp_path / "in"), progress=False)

    def by_place(folder: Path) -> dict:
        return {(*row["transform"], *row["scenes"]): pixels for pixels, row in chips_of(folder)}

    whole, rows = by_place(tmp_path / "one"), by_place(tmp_path / "rows")
    assert whole.keys() == rows.keys() and len(whole) == 27
    for key, pixels in whole.items():
        np.testing.assert_array_equal(pixels, rows[key])


def test_coarser_chips_are_means(tmp_path: Path) -> None:
    """data.resolution 60 of bands of 30 m: means over 2 x 2 pixels, nodata where one of them is."""
    days = DAYS[:2]
    pixels = pixels_of(days)
    pixels[0, :, 5, 7] = NODATA
    write_hls(tmp_path / "in", days, pixels=pixels)
    prepare(config(tmp_path / "out", tmp_path / "in", resolution=60), progress=False)
    ((found, row),) = chips_of(tmp_path / "out")
    assert row["transform"].tolist() == [60, 0, PLACE.left, 0, -60, PLACE.top]
    means = pixels.reshape(2, 6, 32, 2, 32, 2).astype(float).mean(axis=(3, 5))
    expected = np.rint(means)
    expected[0, :, 2, 3] = NODATA
    np.testing.assert_array_equal(found, expected)


def test_plain_rasters(tmp_path: Path) -> None:
    """One GeoTIFF for each date, bands by description, mask among them, floats in reflectance."""
    days = ("2021-03-01", "2021-04-15")
    expected = pixels_of([Date(2021, 60), Date(2021, 105)])[:, [3, 2]]
    for day, pixels in zip(days, expected, strict=True):
        scl = np.full((1, 64, 64), 4, np.float32)
        scl[0, :8] = 9
        values = np.concatenate([pixels.astype(np.float32) / 1e4, scl])
        values[0, 40, 40] = np.nan
        write_raster(
            tmp_path / f"in/fields_{day}.tif",
            values,
            ("nir", "B4", "SCL"),
            tiled=True,
            blockxsize=16,
            blockysize=16,
        )
    expected[:, 0, 40, 40] = NODATA
    data = config(
        tmp_path / "out",
        tmp_path / "in",
        bands=("nir_narrow", "red"),
        some__names={"nir": "nir_narrow", "B4": "red"},
        some__scale=1e4,
    )
    found = prepare(data, progress=False)
    assert found.sources["some"].format == "raster"
    chips = chips_of(tmp_path / "out")
    assert len(chips) == 4
    for pixels, row in chips:
        left, top = (int(v) for v in (np.abs(row["transform"][[2, 5]] - [PLACE.left, PLACE.top]) / 30))
        np.testing.assert_array_equal(pixels, expected[:, :, top : top + 32, left : left + 32])
        assert row["cloudy"].tolist() == ([0.25, 0.25] if top == 0 else [0, 0])
        assert row["scenes"].tolist() == [f"fields_{day}".encode() for day in days]
    with refused("data.sources.some.scale", value=1.0):
        write_hls(tmp_path / "hls")
        prepare(config(tmp_path / "x", tmp_path / "hls", some__scale=1.0), progress=False)
    assert BANDS[3] == "nir_narrow"
