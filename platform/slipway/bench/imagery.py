"""`slipway bench data --kind imagery`: measures chips that one thread reads at random, by Slipway and by others.

The same chips lie in Slipway's shards and in GeoTIFFs as HLS has them (a file for each date and band, 256 x 256 tiles,
deflate with predictor). Each reader visits every chip once, in a process of its own; all take turns, and all must read
the same pixels. Slipway's and webdataset's samples are as a training gets them: tensors of the dataset, checked, and
decoded arrays out of a shuffle buffer. Cold: the files were written out and dropped from the page cache before.
Processor time is what other programs on the machine disturb least.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

from slipway.bench.child import in_child
from slipway.bench.options import at_least
from slipway.bench.record import machine, named, publish, versions
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.errors import EXIT_DONE

BANDS = ("blue", "green", "red", "nir_narrow", "swir_1", "swir_2")
DATES, SIZE = 4, 224
SHUFFLED = 64  # samples in webdataset's shuffle buffer
NEEDS = {"GeoTIFF": "rasterio", "webdataset": "webdataset"}
NODE_RATE = 178.0
"""Chips a second of a node of 8 GPUs in the published training of Prithvi-EO-2.0 300M."""


@dataclass(frozen=True)
class Row:
    """One way to read chips."""

    reader: str
    cache: str = named("page cache")
    chips_per_second: float = named("chips/s")
    megabytes_per_second: float = named("MB/s of pixels")
    milliseconds: float = named("processor ms/chip")
    least_milliseconds: float = named("least")
    most_milliseconds: float = named("most")


@dataclass(frozen=True)
class Summary:
    """What was read, and how much less it costs Slipway."""

    chips: int
    chip_bytes: int = named("bytes of a chip's pixels")
    geotiff_cold: float | None = named("processor time, GeoTIFF / slipway, cold")
    geotiff_warm: float | None = named("processor time, GeoTIFF / slipway, warm")
    webdataset_cold: float | None = named("processor time, webdataset / slipway, cold")
    webdataset_warm: float | None = named("processor time, webdataset / slipway, warm")
    cores_of_a_node: float = named(f"cores that read {NODE_RATE:g} chips/s, cold")
    left_out: str | None = named("left out, not installed")


def run(options: argparse.Namespace) -> int:
    """Measure all readers that are installed, print them, and return the exit code."""
    at_least("--chips", options.chips, 4)
    at_least("--rounds", options.rounds, 1)
    missing = [package for package in NEEDS.values() if not find_spec(package)]
    readers = {name: read for name, read in READERS.items() if NEEDS.get(name) not in missing}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="slipway-bench-", dir=options.dir) as name:
        folder = Path(name)
        count = in_child(write, folder, options.chips, "rasterio" not in missing)
        digests = {reader: in_child(_digest, read, folder) for reader, read in readers.items()}
        assert len(set(digests.values())) == 1, f"readers see different pixels: {digests}"
        for _ in range(options.rounds):
            for cache in ("cold", "warm"):
                for reader, read in readers.items():
                    taken = in_child(_timed, read, folder, cache == "cold")
                    found.setdefault((reader, cache), []).append(taken)
    pixels = 2 * DATES * len(BANDS) * SIZE**2
    rows = [_row(reader, cache, turns, count, pixels) for (reader, cache), turns in found.items()]
    summary = _summary(rows, count, pixels, missing)
    with_readers = versions() | {name: version(name) for name in NEEDS.values() if name not in missing}
    measured = {"machine": machine(), "versions": with_readers}
    publish("data", options.argv, rows, summary, as_json=options.json, measured=measured)
    return EXIT_DONE


def _row(reader: str, cache: str, turns: list[tuple[float, float]], count: int, pixels: int) -> Row:
    wall = median(seconds for seconds, _ in turns)
    used = [1e3 * processor / count for _, processor in turns]
    return Row(
        reader=reader,
        cache=cache,
        chips_per_second=count / wall,
        megabytes_per_second=count * pixels / wall / 1e6,
        milliseconds=median(used),
        least_milliseconds=min(used),
        most_milliseconds=max(used),
    )


def _summary(rows: list[Row], count: int, pixels: int, missing: list[str]) -> Summary:
    by_row = {(row.reader, row.cache): row.milliseconds for row in rows}

    def ratio(reader: str, cache: str) -> float | None:
        other = by_row.get((reader, cache))
        return other / by_row["slipway", cache] if other else None

    return Summary(
        chips=count,
        chip_bytes=pixels,
        geotiff_cold=ratio("GeoTIFF", "cold"),
        geotiff_warm=ratio("GeoTIFF", "warm"),
        webdataset_cold=ratio("webdataset", "cold"),
        webdataset_warm=ratio("webdataset", "warm"),
        cores_of_a_node=NODE_RATE * by_row["slipway", "cold"] / 1e3,
        left_out=", ".join(missing) or None,
    )


# --- what is read


def data_in(folder: Path) -> Any:
    """Return the configuration as far as data is concerned."""
    data = Data(
        name="bench",
        dir=folder / "shards",
        bands=BANDS,
        num_frames=DATES,
        chip_size=SIZE,
        split=(1.0, 0.0, 0.0),
        sources={"bench": Source(inputs=["generated"])},
    )
    return SimpleNamespace(data=data, training=SimpleNamespace(seed=1))


def write(folder: Path, wanted: int, rasters: bool) -> int:
    """Write at least `wanted` chips as shards and, with rasters, as GeoTIFFs; return how many."""
    from slipway.data.imagery import shards
    from slipway.data.imagery.chip import Chip, Date
    from slipway.data.imagery.generated import scene
    from slipway.data.imagery.layout import Layout

    side = next(n for n in range(1, wanted + 1) if n * n >= wanted)
    days = [Date(2023, day) for day in (100, 150, 200, 250)]
    pixels = scene(1, side * SIZE, days).pixels
    layout = Layout(DATES, len(BANDS), SIZE)
    part = folder / "part"
    with shards.PartWriter(part, layout) as writer:
        for row in range(side):
            for column in range(side):
                window = pixels[..., row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE]
                transform = (30.0, 0.0, 30.0 * column * SIZE, 0.0, -30.0, -30.0 * row * SIZE)
                whole = (1.0,) * DATES
                writer.add(
                    Chip(
                        window, tuple(days), 50.0, 10.0, 32632, transform, whole, whole, "one", ("",) * DATES
                    )
                )
    config = data_in(folder)
    config.data.dir.mkdir()
    plan = shards.plan([part], config.data.split, layout, config.data.shard_size)
    records = {job.path.name: job.write() for job in plan.jobs(config.data.dir, "bench")}
    _write_manifest(config.data, plan, records)
    if rasters:
        _write_rasters(folder / "rasters", pixels)
    for path in (folder / "part.pixels", folder / "part.npz"):
        path.unlink()
    for path in files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    return side * side


def _write_manifest(data: Data, plan: Any, records: Any) -> None:
    from slipway.data import prepared
    from slipway.data.imagery import manifest

    asked = manifest.asked(data)
    source = manifest.SourceRecord(
        inputs=data.sources["bench"].inputs,
        places=data.sources["bench"].inputs,
        format="hls",
        files=0,
        input_bytes=0,
        input_sha256="",
        scenes=DATES,
        splits=plan.records("bench", records),
        sums=manifest.Sums(**plan.sums),
    )
    done = manifest.Manifest(
        bands=list(data.bands),
        num_frames=data.num_frames,
        chip_size=data.chip_size,
        cut={name: asked[name] for name in manifest.CUT},
        sources={"bench": source},
        versions={},
    )
    (data.dir / prepared.FILE_NAME).write_text(manifest.to_text(done))


def _write_rasters(folder: Path, pixels: Any) -> None:
    import rasterio
    from rasterio.transform import from_origin

    folder.mkdir()
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": pixels.shape[3],
        "height": pixels.shape[2],
        "count": 1,
        "dtype": "int16",
        "crs": "EPSG:32632",
        "transform": from_origin(0, 0, 30, 30),
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "predictor": 2,
    }
    for date in range(DATES):
        for band in range(len(BANDS)):
            with rasterio.open(folder / f"{date}-{band}.tif", "w", **profile) as file:
                file.write(pixels[date, band], 1)


def files(folder: Path) -> list[Path]:
    """Return all files that readers read."""
    return sorted([*(folder / "shards").glob("*"), *(folder / "rasters").glob("*")])


# --- the readers: each opens its files and yields every chip once, [dates, bands, rows, columns]


def slipway(folder: Path) -> Iterator[Any]:
    """Yield the pixels of Slipway's samples, [dates, bands, rows, columns], in the order of an epoch."""
    from slipway.data.imagery.dataset import open_dataset
    from slipway.data.ledger import Draw

    dataset = open_dataset(data_in(folder), "training", None)
    return (dataset[Draw("bench", number)]["pixels"] for number in range(dataset.sizes["bench"]))


def geotiff(folder: Path) -> Iterator[Any]:
    """Yield windows of all GeoTIFFs, [dates, bands, rows, columns], in an order that is as random.

    The files stay open.
    """
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    from slipway.data.permutation import permuted

    paths = [folder / "rasters" / f"{d}-{b}.tif" for d in range(DATES) for b in range(len(BANDS))]
    opened = [rasterio.open(path) for path in paths]
    side = opened[0].width // SIZE

    def read(number: int) -> Any:
        row, column = divmod(permuted(number, side * side, "bench"), side)
        window = Window(column * SIZE, row * SIZE, SIZE, SIZE)  # type: ignore[call-arg]
        chip = np.empty((DATES * len(BANDS), SIZE, SIZE), np.int16)
        for file, band in zip(opened, chip, strict=True):
            file.read(1, window=window, out=band)
        return chip.reshape(DATES, len(BANDS), SIZE, SIZE)

    return map(read, range(side * side))


def web_dataset(folder: Path) -> Iterator[Any]:
    """Yield the chips of the same shards by webdataset's own loader, shuffled in a buffer and decoded."""
    webdataset: Any = import_module("webdataset")
    urls = sorted(str(path) for path in (folder / "shards").glob("*.tar"))
    samples = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).shuffle(SHUFFLED).decode()
    return (sample["npy"] for sample in samples)


READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    "slipway": slipway,
    "GeoTIFF": geotiff,
    "webdataset": web_dataset,
}


def _digest(read: Callable[[Path], Iterator[Any]], folder: Path) -> int:
    """Return a checksum of all chips, whatever their order."""
    import numpy as np

    from slipway.data.imagery.table import check_of

    return sum(check_of(np.ascontiguousarray(np.asarray(chip)).data) for chip in read(folder))


def _timed(read: Callable[[Path], Iterator[Any]], folder: Path, cold: bool) -> tuple[float, float]:
    """Return the wall and the processor seconds of reading all chips; imports and opening are not measured."""
    for path in files(folder):
        with open(path, "rb") as file:
            if cold:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(1 << 24):
                    pass
    chips = read(folder)
    wall, processor = time.perf_counter(), time.process_time()
    for _ in chips:
        pass
    return time.perf_counter() - wall, time.process_time() - processor
