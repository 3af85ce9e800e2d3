"""Sentinel-2 and cubes: bands by meaning, offsets of the processing baseline, several resolutions, masks, dates."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusals import refused
from scene_files import DAYS, chips_of, config, pixels_of, write_hls, write_raster
from slipway.data.imagery.chip import NODATA
from slipway.data.imagery.preparation import prepare
from slipway.data.imagery.scenes.products import FINDERS, METADATA
from slipway.data.imagery.scenes.survey import _once, survey
from slipway.data.inputs import FoundFile

BANDS = ("red", "nir_narrow", "blue")


def write_product(
    folder: Path, day: str, baseline: str, offset: int | None, dn: dict[str, np.ndarray]
) -> Path:
    """A SAFE folder: B02 and B04 of 10 m, B8A and SCL of 20 m."""
    stem = f"T32UMV_{day}T102021"
    safe = folder / f"S2A_MSIL2A_{day}T102021_N{baseline.replace('.', '')}_R065_T32UMV_20230101T000000.SAFE"
    for name, values in dn.items():
        resolution = 10 if name in ("B02", "B04") else 20
        path = safe / f"GRANULE/L2A/IMG_DATA/R{resolution}m/{stem}_{name}_{resolution}m.tif"
        write_raster(path, values[None], resolution=resolution)
    offsets = "".join(
        f'<BOA_ADD_OFFSET band_id="{i}">{offset}</BOA_ADD_OFFSET>' for i in range(13) if offset is not None
    )
    (safe / METADATA).write_text(
        f"<n1:P xmlns:n1='x'><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        f"<BOA_QUANTIFICATION_VALUE unit='none'>10000</BOA_QUANTIFICATION_VALUE><L>{offsets}</L></n1:P>"
    )
    return safe


def numbers(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {
        name: random.integers(1, 9000, (size, size)).astype(np.uint16)
        for name, size in (("B02", 128), ("B04", 128), ("B8A", 64))
    }
    found["B04"][4, 6] = 0  # nodata
    found["B02"][7, 7] = 60000
    found["SCL"] = np.full((64, 64), 4, np.uint8)
    found["SCL"][40:42, :] = 9
    return found


@pytest.mark.usefixtures("here")
def test_sentinel2(tmp_path: Path) -> None:
    """At 20 m, before and after baseline 04.00: finer bands averaged, the offset added, 0 unknown."""
    dn = [numbers(1), numbers(2)]
    write_product(tmp_path / "in", "20211101", "03.01", None, dn[0])
    write_product(tmp_path / "in", "20220201", "04.00", -1000, dn[1])
    data = config(tmp_path / "out", tmp_path / "in", bands=BANDS, resolution=20.0, gap_days=(30, 180))
    record = prepare(data, progress=False).sources["some"]
    assert (record.format, record.skipped) == ("sentinel2", [])
    expected = np.empty((2, 3, 64, 64))
    for date, (values, offset) in enumerate(zip(dn, (0, -1000), strict=True)):
        expected[date, 1] = values["B8A"].astype(float) + offset
        for band, name in ((0, "B04"), (2, "B02")):
            reflectance = values[name].astype(float) + offset
            expected[date, band] = reflectance.reshape(64, 2, 64, 2).mean(axis=(1, 3))
        expected[date, 0, 2, 3] = NODATA
    expected = np.where(expected == NODATA, NODATA, np.rint(np.clip(expected, NODATA + 1, 32767)))
    chips = chips_of(tmp_path / "out")
    assert len(chips) == 4
    for pixels, row in chips:
        column, line = (int(abs(value) / 20) for value in row["transform"][[2, 5]] - [400_000, 5_500_020])
        part = expected[:, :, line : line + 32, column : column + 32]
        assert (
            np.abs(pixels - part).max() <= 1 and (pixels != part).mean() < 0.2
        )  # halves are rounded either way
        assert ((pixels == NODATA) == (part == NODATA)).all()
        assert row["cloudy"].tolist() == pytest.approx([1 / 16 if line else 0] * 2)
        assert row["scenes"].tolist() == [
            b"S2A_T32UMV_20211101T102021_N0301",
            b"S2A_T32UMV_20220201T102021_N0400",
        ]


@pytest.mark.usefixtures("here")
def test_metadata_of_sentinel2(tmp_path: Path) -> None:
    """Without its metadata nobody knows the offset of a product; of two baselines of a day the later is taken."""
    for day, baseline, offset in (
        ("20220101", "04.00", -1000),
        ("20220101", "05.09", -1000),
        ("20220201", "05.09", -1000),
        ("20220301", "04.00", None),
        ("20220401", "05.09", -1000),
    ):
        safe = write_product(tmp_path / "in", day, baseline, offset, numbers(3))
    (safe / METADATA).unlink()
    data = config(tmp_path / "out", tmp_path / "in", bands=BANDS, resolution=20.0)
    record = prepare(data, progress=False).sources["some"]
    reasons = {Path(one.path).name[11:19] + Path(one.path).name[27:32]: one.reason for one in record.skipped}
    assert sorted(reasons) == ["20220101N0400", "20220301N0400", "20220401N0509"] or len(reasons) == 3
    assert any("same acquisition" in reason for reason in reasons.values())
    assert any("BOA_ADD_OFFSET" in reason for reason in reasons.values())
    assert any(METADATA in reason and "lacks" in reason for reason in reasons.values())
    for _, row in chips_of(tmp_path / "out"):
        assert [name.decode()[-5:] for name in row["scenes"]] == ["N0509", "N0509"]


@pytest.mark.parametrize("kind", ["zarr", "nc"])
@pytest.mark.usefixtures("here")
def test_cubes(tmp_path: Path, kind: str) -> None:
    """Dates out of order, a date twice, one without a date; packed floats, a mask."""
    import pandas
    import xarray
    from rasterio.crs import CRS

    expected = pixels_of(DAYS[:3])[:, [3, 2]].astype(np.float32) / 1e4
    expected[0, 0, 3, 5] = np.nan
    order = [2, 0, 1, 0, 1]
    days = [f"2021-{month:02}-10T10:30" for month in (1, 3, 5)]
    time = pandas.to_datetime([days[i] for i in order[:4]] + ["NaT"]).values
    scl = np.full((5, 64, 64), 5, np.uint8)
    scl[1, :8] = 3
    cube = xarray.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), expected[order]),
            "SCL": (("time", "y", "x"), scl),
            "spatial_ref": ((), 0, {"crs_wkt": CRS.from_epsg(32632).to_wkt()}),
        },
        {
            "time": time,
            "band": ["B8A", "B04"],
            "y": 5_500_020 - 30 * (np.arange(64) + 0.5),
            "x": 400_000 + 30 * (np.arange(64) + 0.5),
        },
    )
    path = tmp_path / f"in/site.{kind}"
    path.parent.mkdir()
    cube.to_zarr(path, zarr_format=2) if kind == "zarr" else cube.to_netcdf(path, engine="h5netcdf")
    names = {"B8A": "nir_narrow", "B04": "red", "SCL": "scl"}
    data = config(
        tmp_path / "out", tmp_path / "in", bands=("nir_narrow", "red"), some__names=names, some__scale=1e4
    )
    record = prepare(data, progress=False).sources["some"]
    assert (record.format, record.scenes) == ("cube", 3)
    assert [one.reason.split()[0] for one in record.skipped] == ["is", "has"]
    assert record.skipped[1].path == f"{path} NaT"
    chips = chips_of(tmp_path / "out")
    assert len(chips) == 4
    for pixels, row in chips:
        column, line = (int(abs(value) / 30) for value in row["transform"][[2, 5]] - [400_000, 5_500_020])
        part = expected[:2, :, line : line + 32, column : column + 32]
        np.testing.assert_array_equal(
            pixels, np.where(np.isnan(part), NODATA, np.rint(np.nan_to_num(part) * 1e4))
        )
        assert row["dates"].tolist() == [[2021, 10], [2021, 69]]
        assert row["cloudy"].tolist() == [0.25 if line == 0 else 0, 0]
    with refused("data.sources.some", "10000"):
        prepare(config(tmp_path / "x", tmp_path / "in", bands=("red",), some__names=names), progress=False)
    with refused("data.sources.some", "swir_1"):
        prepare(config(tmp_path / "x", tmp_path / "in", bands=("swir_1",), some__scale=1.0), progress=False)


@pytest.mark.usefixtures("here")
def test_a_cube_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("no cube")
    with refused("data.sources.some", "a.nc"):
        prepare(config(tmp_path / "out", tmp_path / "a.nc"), progress=False)


FILES = [
    FoundFile(f"/{folder}/{name}.{band}.tif", f"{name}.{band}.tif", 10, 1)
    for folder, name in itertools.product(
        ("a", "b"),
        [f"HLS.{sensor}.T32UMV.2021{day:03}T103021.v2.0" for sensor in ("L30", "S30") for day in (9, 40, 99)],
    )
    for band in ("B04", "B05" if ".L30." in name else "B8A", "Fmask")
    if (folder, name[4:7], band) != ("b", "S30", "Fmask")
]


@given(st.permutations(FILES))
def test_any_order_of_files_finds_the_same(files: list[FoundFile]) -> None:
    finder = FINDERS["hls"]
    expected = finder(FILES, ("red", "nir_narrow"), None)
    found = finder(files, ("red", "nir_narrow"), None)
    assert _once(found.candidates) == _once(expected.candidates)
    assert sorted(found.bad) == sorted(expected.bad) and len(found.bad) == 3


def test_any_order_of_inputs_finds_the_same(tmp_path: Path) -> None:
    write_hls(tmp_path / "a", DAYS[:3])
    write_hls(tmp_path / "b", DAYS[2:])
    entries = [tmp_path / "a", tmp_path / "b"]
    one, other = (
        survey(data, "some", data.sources["some"])
        for data in (config(tmp_path, *entries), config(tmp_path, *reversed(entries)))
    )
    assert one == other and len(one.bad) == 1
