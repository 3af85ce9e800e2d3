"""Prepared chips for tests: written by the writer of shards, without any scene."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from slipway.data.imagery import manifest, shards
from slipway.data.imagery.chip import NODATA, Chip, Date
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import Manifest, SourceRecord, Sums
from slipway.data.prepared import FILE_NAME

BANDS = ("blue", "red", "nir_narrow")
LAYOUT = Layout(2, len(BANDS), 12)
SPLIT = (0.6, 0.2, 0.2)


def chip(number: int, layout: Layout = LAYOUT, places: int = 3, seed: int = 0) -> Chip:
    """A chip whose content follows from its number; chips of `places` numbers in a row share ground."""
    random = np.random.default_rng([seed, number])
    pixels = random.integers(-3000, 9000, layout.shape, dtype=np.int16)
    pixels[0, :, : number % 3] = NODATA
    dates = tuple(Date(2020 + k, 1 + (number + k) % 366) for k in range(layout.dates))
    return Chip(
        pixels=pixels,
        dates=dates,
        latitude=float(random.uniform(-90, 90)),
        longitude=float(random.uniform(-180, 180)),
        epsg=32632,
        transform=(30.0, 0.0, 5e5 + number / 3, 0.0, -30.0, 5.5e6),
        valid=(1 - number % 3 / layout.size, *[1.0] * (layout.dates - 1)),
        cloudy=(0.125, *[float("nan")] * (layout.dates - 1)),
        place=f"ground {number // places}",
        scenes=tuple(f"scène {number}-{k}" for k in range(layout.dates)),
    )


def write_parts(folder: Path, chips: Iterable[Chip], cuts: list[int], layout: Layout = LAYOUT) -> list[Path]:
    """Write chips to parts that end at `cuts`, and one more."""
    folder.mkdir(parents=True, exist_ok=True)
    left, ends, paths, done = list(chips), [*sorted(cuts), None], [], 0
    for number, end in enumerate(ends):
        paths.append(folder / f"{number:06d}")
        with shards.PartWriter(paths[-1], layout) as writer:
            for one in left[done:end]:
                writer.add(one)
        done = len(left) if end is None else end
    return paths


def write_source(
    folder: Path, name: str, parts: list[Path], shard_size: int, layout: Layout = LAYOUT
) -> SourceRecord:
    """Write the shards and tables of a source, as preparation does."""
    plan = shards.plan(parts, SPLIT, layout, shard_size)
    records = {job.path.name: job.write() for job in plan.jobs(folder, name)}
    return SourceRecord(
        inputs=["nowhere"],
        places=manifest.places(["nowhere"]),
        format="raster",
        files=1,
        input_bytes=1,
        input_sha256="0" * 64,
        scenes=1,
        splits=plan.records(name, records),
        sums=Sums(**plan.sums),
    )


def prepared(
    folder: Path,
    counts: dict[str, int] | None = None,
    layout: Layout = LAYOUT,
    shard_size: int = 20_000,
    steps: int = 1,
    seed: int = 5,
    bands: tuple[Any, ...] = BANDS,
    **fields: Any,
) -> Any:
    """A configuration, as far as data is concerned, of sources with that many chips, which are prepared."""
    counts = counts or {"a": 30, "b": 12}
    data = Data(
        name="test",
        dir=folder / "d",
        bands=bands,
        num_frames=layout.dates,
        chip_size=layout.size,
        shard_size=shard_size,
        split=SPLIT,
        sources={name: Source(inputs=["nowhere"], format="raster") for name in counts},
        **fields,
    )
    data.dir.mkdir(parents=True)
    sources = {}
    for number, (name, count) in enumerate(counts.items()):
        chips = (chip(k, layout, seed=number) for k in range(count))
        parts = write_parts(folder / "parts" / name, chips, [count // 3], layout)
        sources[name] = write_source(data.dir, name, parts, shard_size, layout)
    asked = manifest.asked(data)
    done = Manifest(
        bands=list(data.bands),
        num_frames=data.num_frames,
        chip_size=data.chip_size,
        cut={key: asked[key] for key in manifest.CUT},
        sources=sources,
        versions={},
    )
    (data.dir / FILE_NAME).write_text(manifest.to_text(done))
    return SimpleNamespace(
        data=data,
        training=SimpleNamespace(seed=seed),
        validation=SimpleNamespace(steps=steps),
    )


def changed(config: Any, **fields: Any) -> Any:
    """The configuration with other fields of `data`."""
    return SimpleNamespace(**{**vars(config), "data": config.data.model_copy(update=fields)})
