"""Small scenes on disk for tests: granules of HLS, products of Sentinel-2, rasters, cubes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio

from slipway.data.imagery.chip import Date
from slipway.data.imagery.config import Config, Source
from slipway.data.imagery.generated import scene
from slipway.data.imagery.generated.granules import Place, write_granule

BANDS = ("blue", "green", "red", "nir_narrow", "swir_1", "swir_2")
PLACE = Place(7, "32UMV", 32632, 400_000.0, 5_500_020.0)
DAYS = tuple(Date(2021, day) for day in (20, 60, 100, 140, 180, 220))
CLEAR = 1 << 6  # Fmask: low aerosol, nothing else


def config(folder: Path, *inputs: Path | str, **fields: object) -> Config:
    """Chips of 32 pixels and two dates out of one source, `some`; fields of it are given as some__FIELD."""
    of_source = {k.removeprefix("some__"): fields.pop(k) for k in list(fields) if k.startswith("some__")}
    source = Source(inputs=[str(entry) for entry in inputs], **of_source)  # type: ignore[arg-type]
    common = {
        "name": "test",
        "dir": folder,
        "bands": BANDS,
        "num_frames": 2,
        "chip_size": 32,
        "gap_days": (10, 90),
        "min_valid": 0.9,
        "max_cloud": 0.5,
        "split": (1.0, 0.0, 0.0),
        "workers": 1,
        "sources": {"some": source},
    }
    return Config(**(common | fields))  # type: ignore[arg-type]


def pixels_of(days: Sequence[Date], size: int = 64, seed: int = 3) -> np.ndarray:
    """Land without clouds, int16 [dates, 6, size, size]: by a generated scene, nodata filled up."""
    found = scene(seed, size, days).pixels
    return np.where(found < -2000, np.int16(500), found)


def write_hls(
    folder: Path,
    days: Sequence[Date] = DAYS,
    place: Place = PLACE,
    sensor: str = "L30",
    pixels: np.ndarray | None = None,
    fmask: np.ndarray | None = None,
    size: int = 64,
) -> list[str]:
    """Write granules of a place without clouds, if nothing else is given; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = pixels_of(days, size) if pixels is None else pixels
    masks = np.full((len(days), *pixels.shape[2:]), CLEAR, np.uint8) if fmask is None else fmask
    return [
        write_granule(folder, place, sensor, day, one, mask)
        for day, one, mask in zip(days, pixels, masks, strict=True)
    ]


def write_raster(
    path: Path,
    pixels: np.ndarray,
    descriptions: Sequence[str] = (),
    *,
    epsg: int | None = 32632,
    left: float = 400_000.0,
    top: float = 5_500_020.0,
    resolution: float = 30.0,
    nodata: float | None = None,
    tags: Mapping[str, str] | None = None,
    driver: str = "GTiff",
    **options: object,
) -> Path:
    """Write an array [bands, rows, columns]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver=driver,
        dtype=pixels.dtype,
        count=count,
        height=height,
        width=width,
        crs=f"EPSG:{epsg}" if epsg else None,
        transform=rasterio.Affine(resolution, 0.0, left, 0.0, -resolution, top),
        nodata=nodata,
        **options,
    ) as file:
        file.write(pixels)
        for index, description in enumerate(descriptions, 1):
            file.set_band_description(index, description)
        if tags:
            file.update_tags(**tags)
    return path


def chips_of(folder: Path, source: str = "some", split: str = "training") -> list[tuple[np.ndarray, dict]]:
    """All chips of a prepared split with the row of the table, by tarfile and numpy alone."""
    import io
    import tarfile

    table = np.load(folder / f"{source}-{split}.npz")
    rows = [{name: table[name][i] for name in table.files} for i in range(len(table["place"]))]
    pixels = []
    for shard in sorted(folder.glob(f"{source}-{split}-*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive.getmembers():
                if member.name.endswith(".npy"):
                    file = archive.extractfile(member)
                    assert file
                    pixels.append(np.load(io.BytesIO(file.read())))
    return list(zip(pixels, rows, strict=True))


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a prepared folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
