"""Bad scenes are named with what is wrong, and skipped or refused; the others are not touched by them."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio

from refusals import refused
from scene_files import CLEAR, DAYS, PLACE, chips_of, config, contents, pixels_of, write_hls, write_raster
from slipway.data.imagery.chip import Date
from slipway.data.imagery.generated.granules import Place
from slipway.data.imagery.preparation import prepare

pytestmark = pytest.mark.usefixtures("here")

BAD_DAY = Date(2021, 80)  # between two that are good
NAME = "HLS.L30.T32UMV.2021080T103021.v2.0"


def missing_band(folder: Path) -> str:
    (folder / f"{NAME}.B05.tif").unlink()
    return "lacks nir_narrow"


def missing_mask(folder: Path) -> str:
    (folder / f"{NAME}.Fmask.tif").unlink()
    return "lacks fmask"


def another_zone(folder: Path) -> str:
    for path in folder.glob(f"{NAME}.*"):
        rewrite(path, epsg=32633)
    return "EPSG:32633"


def no_coordinates(folder: Path) -> str:
    rewrite(folder / f"{NAME}.B04.tif", epsg=None)
    return "no coordinate system in"


def degrees(folder: Path) -> str:
    rewrite(folder / f"{NAME}.B04.tif", epsg=4326)
    return "degrees"


def truncated(folder: Path) -> str:
    """Its head is whole, as a COG's; only the blocks say that something is missing."""
    path = folder / f"{NAME}.B06.tif"
    rewrite(path, tiled=True, blockxsize=16, blockysize=16)
    os.truncate(path, path.stat().st_size - 500)
    return "cut off"


def without_its_end(folder: Path) -> str:
    """Where a file's directory stands at its end."""
    path = folder / f"{NAME}.B06.tif"
    os.truncate(path, path.stat().st_size // 2)
    return "cannot be read"


def damaged_inside(folder: Path) -> str:
    """Only reading it shows that."""
    path = folder / f"{NAME}.B06.tif"
    data = bytearray(path.read_bytes())
    data[-400:-200] = bytes(200)
    path.write_bytes(data)
    return "cannot be read"


def text_named_tif(folder: Path) -> str:
    (folder / f"{NAME}.B03.tif").write_text("not found\n")
    return "not recognized"


def empty(folder: Path) -> str:
    (folder / f"{NAME}.B03.tif").write_bytes(b"")
    return "B03.tif"


def another_shape(folder: Path) -> str:
    with rasterio.open(folder / f"{NAME}.B07.tif") as file:
        values = file.read()[:, :50]
    write_raster(folder / f"{NAME}.B07.tif", values, nodata=-9999)
    return "50 x 64"


def another_origin(folder: Path) -> str:
    rewrite(folder / f"{NAME}.B07.tif", left=400_030.0)
    return "400030"


def another_tiles_band(folder: Path) -> str:
    """A file of the neighbour under this granule's name."""
    rewrite(folder / f"{NAME}.B02.tif", left=500_010.0)
    return "500010"


def another_grid(folder: Path) -> str:
    """All bands agree, but not with the tile's other scenes."""
    for path in folder.glob(f"{NAME}.*"):
        rewrite(path, left=400_060.0)
    return "400060"


def all_cloud(folder: Path) -> str:
    path = folder / f"{NAME}.Fmask.tif"
    with rasterio.open(path, "r+") as file:
        file.write(np.full((1, 64, 64), CLEAR | 2, np.uint8))
    return "4 under too many clouds"


def nothing_measured(folder: Path) -> str:
    with rasterio.open(folder / f"{NAME}.B06.tif", "r+") as file:
        file.write(np.full((1, 64, 64), -9999, np.int16))
    return "4 measured too little"


def floats_with_nan(folder: Path) -> str:
    write_raster(folder / f"{NAME}.B06.tif", np.full((1, 64, 64), np.nan, np.float32), nodata=-9999)
    return "floats"


def no_such_day(folder: Path) -> str:
    for path in folder.glob(f"{NAME}.*"):
        path.rename(str(path).replace("2021080T", "2021480T"))
    return "no calendar"


def another_day(folder: Path) -> str:
    with rasterio.open(folder / f"{NAME}.B02.tif", "r+") as file:
        file.update_tags(SENSING_TIME="2021-07-30T10:30:21.123Z; 2021-07-30T10:30:45Z")
    return "day 211"


def a_copy(folder: Path) -> str:
    for path in list(folder.glob(f"{NAME}.*")):
        (folder / "copy").mkdir(exist_ok=True)
        shutil.copy(path, folder / "copy")
    return "the same acquisition as"


BAD: list[Callable[[Path], str]] = [
    missing_band,
    missing_mask,
    another_zone,
    no_coordinates,
    degrees,
    truncated,
    without_its_end,
    damaged_inside,
    text_named_tif,
    empty,
    another_shape,
    another_origin,
    another_tiles_band,
    another_grid,
    floats_with_nan,
    no_such_day,
    another_day,
    a_copy,
]
USELESS: list[Callable[[Path], str]] = [all_cloud, nothing_measured]


def rewrite(path: Path, **options: object) -> None:
    with rasterio.open(path) as file:
        values, nodata = file.read(), file.nodata
    write_raster(path, values, nodata=nodata, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four good granules."""
    folder = tmp_path_factory.mktemp("good")
    write_hls(folder, DAYS[:4])
    return folder


@pytest.fixture(scope="module")
def fifth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another, which each test spoils in its own way."""
    folder = tmp_path_factory.mktemp("fifth")
    assert write_hls(folder, [BAD_DAY]) == [NAME]
    return folder


@cache
def alone(folder: Path) -> dict[str, bytes]:
    """What is prepared of a folder, but for the manifest."""
    prepare(config(folder.parent / "alone", folder), progress=False)
    found = contents(folder.parent / "alone")
    del found["manifest.json"]
    return found


@pytest.mark.parametrize("spoil", [*BAD, *USELESS], ids=lambda spoil: spoil.__name__)
def test_a_bad_scene_is_named_and_skipped_or_refused(
    good: Path, fifth: Path, tmp_path: Path, spoil: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = tmp_path / "in"
    shutil.copytree(good, inputs)
    shutil.copytree(fifth, inputs, dirs_exist_ok=True)
    expected = spoil(inputs)
    record = prepare(config(tmp_path / "out", inputs), progress=False).sources["some"]
    (skipped,) = record.skipped
    assert expected in skipped.reason, skipped
    assert Path(skipped.path).is_relative_to(inputs)
    printed = capsys.readouterr().err
    if spoil in BAD:
        assert f"{skipped.path} {skipped.reason}" in printed
    else:
        assert "1 scenes are under clouds or unmeasured" in printed
    if spoil is not a_copy:
        # the same pixels as without it
        for name, expected_bytes in alone(good).items():
            assert contents(tmp_path / "out")[name] == expected_bytes
    strict = config(tmp_path / "strict", inputs, on_bad_scene="refuse")
    if spoil in USELESS:
        # a cloudy day is no mistake
        assert prepare(strict, progress=False).sources["some"].skipped == record.skipped
        return
    with refused(skipped.path, use="data.on_bad_scene=skip" if spoil is not damaged_inside else ()):
        prepare(strict, progress=False)
    assert not (tmp_path / "strict").exists()


def test_all_are_bad(good: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    shutil.copytree(good, inputs)
    for path in inputs.glob("*.B04.tif"):
        path.unlink()
    with refused("data.sources.some", 4, "red"):
        prepare(config(tmp_path / "out", inputs), progress=False)
    assert not (tmp_path / "out").exists()


def test_what_is_no_scene(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other files are left out and counted; a raster that no granule is named like is a bad scene."""
    inputs = tmp_path / "in"
    shutil.copytree(good, inputs)
    for name in ("browse.jpg", "HLS.L30.T32UMV.2021020T103021.v2.0.cmr.xml", f"{NAME}.SZA.tif.aux"):
        (inputs / name).write_text("x")
    write_raster(inputs / "elevation.tif", np.zeros((1, 64, 64), np.int16))
    record = prepare(config(tmp_path / "out", inputs), progress=False).sources["some"]
    assert [Path(one.path).name for one in record.skipped] == ["elevation.tif"]
    assert record.left_out == 2
    assert ".jpg" in capsys.readouterr().err
    with refused("data.sources.some.inputs", value=str(tmp_path / "nothing")):
        (tmp_path / "nothing").mkdir()
        prepare(config(tmp_path / "x", tmp_path / "nothing"), progress=False)
    with refused("data.sources.some.inputs[0]", value=str(tmp_path / "absent")):
        prepare(config(tmp_path / "x", tmp_path / "absent"), progress=False)


def test_formats_do_not_mix(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "in")
    (tmp_path / "in/cube.nc").write_bytes(b"x")
    with refused("data.sources.some.inputs", "hls", "cube", use="data.sources.some.format"):
        prepare(config(tmp_path / "out", tmp_path / "in"), progress=False)


def test_resolutions_do_not_mix(tmp_path: Path) -> None:
    for name, resolution in (("a", 10.0), ("b", 30.0)):
        for day in ("2021-03-01", "2021-04-15"):
            values = np.zeros((1, 64, 64), np.int16)
            write_raster(tmp_path / f"in/{name}_{day}.tif", values, ["red"], resolution=resolution)
    data = config(tmp_path / "out", tmp_path / "in", bands=("red",))
    with refused("data.resolution", "10", "30", use=30):
        prepare(data, progress=False)
    prepare(data.model_copy(update={"resolution": 30.0, "chip_size": 16}), progress=False)
    assert {row["transform"][0] for _, row in chips_of(tmp_path / "out")} == {30}


def test_nan_is_unknown_never_a_number(tmp_path: Path) -> None:
    for day, nan in (("2021-03-01", 0), ("2021-04-15", 40), ("2021-05-20", 4096)):
        values = np.full((1, 64, 64), 0.25, np.float32)
        values.ravel()[:nan] = np.nan
        write_raster(tmp_path / f"in/x_{day}.tif", values, ["red"])
    data = config(tmp_path / "out", tmp_path / "in", bands=("red",), some__scale=1e4)
    record = prepare(data, progress=False).sources["some"]
    assert [Path(one.path).name for one in record.skipped] == ["x_2021-05-20.tif"]
    values = np.concatenate([pixels.ravel() for pixels, _ in chips_of(tmp_path / "out")])
    assert set(values.tolist()) == {2500, -32768}
    with refused(tmp_path / "in/x_2021-03-01.tif", "red", "10000"):
        prepare(
            config(tmp_path / "x", tmp_path / "in", bands=("red",), on_bad_scene="refuse"), progress=False
        )


def test_a_tile_smaller_than_a_chip(good: Path, tmp_path: Path) -> None:
    other = Place(8, "32UNA", 32632, 500_010.0, 5_600_010.0)
    shutil.copytree(good, tmp_path / "in")
    days = DAYS[:2]
    write_hls(tmp_path / "in", days, other, pixels=pixels_of(days)[:, :, :20, :20])
    record = prepare(config(tmp_path / "out", tmp_path / "in"), progress=False).sources["some"]
    assert len(record.skipped) == 2 and all("20 x 20" in one.reason for one in record.skipped)
    assert PLACE.tile != other.tile
