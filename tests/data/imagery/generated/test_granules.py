"""Generated scenes as files: real GeoTIFF files, named and filled as HLS's are."""

from itertools import combinations
from pathlib import Path

import numpy as np
import rasterio

from slipway.data.imagery.chip import NODATA
from slipway.data.imagery.generated import scene
from slipway.data.imagery.generated.granules import PLACES, days, place, write_place
from slipway.data.imagery.scenes.ground import CELL, ground_of


def test_files_hold_the_scene(tmp_path: Path) -> None:
    folder = write_place(tmp_path, 5, size=48)
    where, acquisitions = place(5), days(5)
    expected = scene(where.seed, 48, [date for _, date in acquisitions])
    assert len(list(folder.iterdir())) == 7 * len(acquisitions)
    names = {
        "L30": ("B02", "B03", "B04", "B05", "B06", "B07"),
        "S30": ("B02", "B03", "B04", "B8A", "B11", "B12"),
    }
    for i, (sensor, (year, day)) in enumerate(acquisitions):
        (granule,) = {
            path.name.rsplit(".", 2)[0]
            for path in folder.glob(f"HLS.{sensor}.T{where.tile}.{year}{day:03}T*.v2.0.*")
        }
        for band, name in enumerate(names[sensor]):
            with rasterio.open(folder / f"{granule}.{name}.tif") as file:
                assert (file.nodata, file.dtypes, file.crs.to_epsg()) == (-9999, ("int16",), where.epsg)
                assert (
                    file.block_shapes == [(48, 48)]
                    and file.compression.name == "deflate"
                    and file.scales == (0.0001,)
                )
                assert file.transform[:6] == (30, 0, where.left, 0, -30, where.top)
                stored = file.read(1)
            pixels = expected.pixels[i, band]
            np.testing.assert_array_equal(stored, np.where(pixels == NODATA, -9999, pixels))
        with rasterio.open(folder / f"{granule}.Fmask.tif") as file:
            np.testing.assert_array_equal(file.read(1), expected.fmask[i])


def test_a_place_is_written_once(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in write_place(tmp_path, 1, size=16).iterdir()}
    folder = write_place(tmp_path, 1, size=16)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_places_lie_apart() -> None:
    """Each in a cell of its own, which decides its split."""
    from rasterio.warp import transform

    grounds = []
    for one in map(place, range(PLACES)):
        longitudes, latitudes = transform(f"EPSG:{one.epsg}", "EPSG:4326", [one.left], [one.top])
        grounds.append(ground_of(latitudes * 2, longitudes * 2))
    for one, other in combinations(grounds, 2):
        assert abs(one.latitude - other.latitude) > CELL or abs(one.longitude - other.longitude) > CELL
    assert len({place(number).tile for number in range(PLACES)}) == PLACES
