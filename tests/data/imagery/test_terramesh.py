"""TerraMesh's shards as they are: by their index training reads what webdataset and zarr read."""

import io
import math
import os
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import terramesh as look_alike
from refusals import refused
from slipway.data.files import DataChanged
from slipway.data.imagery import manifest
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.data.imagery.kind import KIND
from slipway.data.imagery.manifest import Manifest
from slipway.data.imagery.terramesh import source as mesh
from slipway.data.imagery.terramesh.modalities import MODALITIES, SIZE
from slipway.data.ledger import Draw
from slipway.data.prepared import FILE_NAME

S2 = MODALITIES["S2L2A"]


def pixels(seed: int, bands: int = len(S2), dtype: Any = np.int16) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.integers(-50, 9000, (1, bands, SIZE // 8, SIZE // 8))  # compresses, as images do
    return coarse.repeat(8, axis=2).repeat(8, axis=3).astype(dtype)


def settings_for(folder: Path, *inputs: str, **fields: Any) -> Data:
    fields = {"bands": S2, "num_frames": 1, **fields}
    return Data(
        name="mesh",
        dir=folder / "d",
        chip_size=SIZE,
        min_valid=0,
        max_cloud=1,
        sources={"m": Source(inputs=[str(folder / name) for name in inputs], format="terramesh")},
        **fields,
    )


def prepare(data: Data, threads: int = 2) -> Manifest:
    """What preparation does of a source whose format is terramesh."""
    work = data.dir / "work"
    work.mkdir(parents=True, exist_ok=True)
    advanced: list[tuple[int, int, bool]] = []
    shards = mesh.survey("m", data.sources["m"].inputs)
    with ThreadPoolExecutor(threads) as pool:
        record, dtype = mesh.prepare(
            "m", data, shards, pool, work / "m", data.dir, lambda *done: advanced.append(done)
        )
    assert [one[0] for one in advanced] == [shard.file.size for shard in shards]
    asked = manifest.asked(data)
    done = Manifest(
        dtype=dtype,  # type: ignore[arg-type]
        bands=list(data.bands),
        num_frames=data.num_frames,
        chip_size=data.chip_size,
        cut={key: asked[key] for key in manifest.CUT},
        sources={"m": record},
        versions={},
    )
    (data.dir / FILE_NAME).write_text(manifest.to_text(done))
    return done


def as_run(data: Data) -> Any:
    return SimpleNamespace(data=data, training=SimpleNamespace(seed=5), validation=SimpleNamespace(steps=1))


def members(first: int, count: int, **options: Any) -> dict[str, bytes]:
    return {
        f"ssl4eos12_val_{number:07d}": look_alike.member(
            pixels(number), look_alike.TIME + number * 86_400 * 10**9, latitude=number / 7, **options
        )
        for number in range(first, first + count)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mesh")
    look_alike.write_shard(root / "train/S2L2A/majortom_shard_000001.tar", members(0, 3))
    look_alike.write_shard(root / "train/S2L2A/ssl4eos12_shard_000794.tar", members(3, 2))
    look_alike.write_shard(root / "val/S2L2A/majortom_shard_000001.tar", members(5, 2))
    return root


@pytest.fixture(scope="module")
def data(folder: Path) -> Data:
    data = settings_for(folder, "train/S2L2A", "val/S2L2A")
    prepare(data)
    return data


def independently(path: Path) -> Iterator[tuple[str, Any]]:
    """Each sample of a shard, as webdataset and zarr see it."""
    webdataset, zarr = pytest.importorskip("webdataset"), pytest.importorskip("zarr")
    for sample in webdataset.WebDataset(str(path), shardshuffle=False):
        with open(path.with_name("sample.zarr.zip"), "wb") as file:
            file.write(sample["zarr.zip"])
        store = zarr.storage.ZipStore(file.name, mode="r")
        yield sample["__key__"], zarr.open_group(store, mode="r", zarr_format=2)
        store.close()
        os.unlink(file.name)


@pytest.mark.parametrize(
    ("split", "shards"),
    [
        ("training", ["train/S2L2A/majortom_shard_000001.tar", "train/S2L2A/ssl4eos12_shard_000794.tar"]),
        ("validation", ["val/S2L2A/majortom_shard_000001.tar"]),
    ],
)
def test_samples_are_those_that_zarr_reads(folder: Path, data: Data, split: Any, shards: list[str]) -> None:
    expected = []
    for shard in shards:
        for _, group in independently(folder / shard):
            time = np.datetime64(int(group["time"][0]), "ns").astype("datetime64[D]")
            year = time.astype("datetime64[Y]")
            date = [float(str(year)), float((time - year).astype(int) + 1)]
            place = [float(group["center_lat"][()]), float(group["center_lon"][()])]
            expected.append((group["bands"][...], date, place))
    dataset: Any = KIND.open(as_run(data), split)
    assert dataset.sizes == {"m": len(expected)}
    for number in range(len(expected)):
        draw = Draw("m", number)
        values, date, place = expected[dataset.chip(draw)]
        sample = dataset[draw]
        assert np.array_equal(sample["pixels"].numpy(), values) and sample["pixels"].numpy().dtype == np.int16
        assert sample["dates"].tolist() == [date] and sample["location"].tolist() == pytest.approx(place)


def test_some_bands_in_another_order(folder: Path, tmp_path: Path, data: Data) -> None:
    some = settings_for(folder, "train/S2L2A", bands=("red", "blue", "swir_2")).model_copy(
        update={"dir": tmp_path / "d"}
    )
    prepare(some)
    whole: Any = KIND.open(as_run(data), "training")
    part: Any = KIND.open(as_run(some), "training")
    for number in range(5):
        draw = Draw("m", number)
        assert np.array_equal(part[draw]["pixels"].numpy(), whole[draw]["pixels"].numpy()[:, [3, 1, 11]])


def test_statistics(data: Data) -> None:
    values = np.concatenate([pixels(number) for number in range(5)]).astype(np.float64)
    sample = KIND.open(as_run(data), "training")[Draw("m", 0)]
    assert sample["mean"].tolist() == pytest.approx(values.mean(axis=(0, 2, 3)).tolist())
    assert sample["std"].tolist() == pytest.approx(values.std(axis=(0, 2, 3)).tolist())


def test_an_interrupted_index_is_continued(folder: Path, data: Data, tmp_path: Path) -> None:
    """With any number of processes, and what one is left from before: the same bytes."""
    other = data.model_copy(update={"dir": tmp_path / "d"})
    work = other.dir / "work" / "m"
    work.mkdir(parents=True)
    shards = mesh.survey("m", other.sources["m"].inputs)
    asked = mesh._wanted("m", other, shards)
    mesh.index.write(Path(shards[1].file.path), asked, work / "000001")
    before = (work / "000001.npz").stat().st_mtime_ns
    prepare(other, threads=1)
    assert (work / "000001.npz").stat().st_mtime_ns == before
    for name in ("m-training.npz", "m-validation.npz", FILE_NAME):
        assert (other.dir / name).read_bytes() == (data.dir / name).read_bytes()


def test_floats_with_holes_and_absent_chunks(tmp_path: Path) -> None:
    """Radar in decibels: float16, NaN where nothing was measured; a sample of nothing but fill has no chunk."""
    radar = pixels(1, bands=2, dtype=np.float32) / 500 - 20
    radar = radar.astype(np.float16)
    radar[0, 1, :9] = math.nan
    nothing = np.full_like(radar, math.nan)
    look_alike.write_shard(
        tmp_path / "train/S1GRD/ssl4eos12_shard_000794.tar",
        {
            "a": look_alike.member(radar, fill=math.nan),
            "b": look_alike.member(nothing, fill=math.nan),
        },
    )
    data = settings_for(tmp_path, "train/S1GRD", bands=("vv", "vh"))
    found = prepare(data)
    assert KIND.traits(as_run(data))["dtype"] == "float16"
    dataset: Any = KIND.open(as_run(data), "training")
    samples = {dataset.chip(Draw("m", k)): dataset[Draw("m", k)]["pixels"].numpy() for k in range(2)}
    assert samples[0].dtype == np.float16
    assert np.array_equal(samples[0], radar, equal_nan=True)
    assert np.array_equal(samples[1], nothing, equal_nan=True)
    known = radar[0].astype(np.float64).reshape(2, -1)
    assert list(found.sources["m"].sums.count) == np.isfinite(known).sum(axis=1).tolist()
    assert list(found.sources["m"].sums.sum) == pytest.approx(np.nansum(known, axis=1).tolist())


def test_chunks_of_one_date(tmp_path: Path) -> None:
    """SSL4EO-S12's samples of four dates; one date is fill alone."""
    values = np.concatenate([pixels(number) for number in range(4)])
    values[2] = 0
    look_alike.write_shard(
        tmp_path / "train/S2L2A/shard_000001.tar", {"a": look_alike.member(values, dates_per_chunk=1)}
    )
    data = settings_for(tmp_path, "train/S2L2A", num_frames=4)
    prepare(data)
    sample = KIND.open(as_run(data), "training")[Draw("m", 0)]
    assert np.array_equal(sample["pixels"].numpy(), values)
    assert sample["dates"].tolist() == [[2020, 214], [2020, 215], [2020, 216], [2020, 217]]


def other_size(data: bytes) -> bytes:
    return look_alike.member(pixels(0)[..., :100])


def damaged(data: bytes) -> bytes:
    place = data.index(b"bands/0.0.0.0") + 5000
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


BAD = {
    "no zip file": lambda data: b"text" * 100,
    "cut": lambda data: data[: len(data) // 2],
    "damaged": damaged,
    "size": other_size,
    "bands": lambda data: look_alike.member(pixels(0, bands=3)),
    "type": lambda data: look_alike.member(pixels(0).astype(np.float32)),
    "zipped": lambda data: look_alike.member(pixels(0), zipped=zipfile.ZIP_DEFLATED),
    "other codec": lambda data: look_alike.member(pixels(0), compressor={"id": "zstd", "level": 1}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_samples_are_named_and_left_out_or_refused(tmp_path: Path, case: str) -> None:
    good = members(0, 2)
    key = list(good)[1]
    good[key] = BAD[case](good[key])
    path = look_alike.write_shard(tmp_path / "train/S2L2A/shard_000001.tar", good)
    data = settings_for(tmp_path, "train/S2L2A")
    found = prepare(data)
    (skipped,) = found.sources["m"].skipped
    assert skipped.path == f"{path}/{key}" and skipped.reason
    assert found.sources["m"].splits["training"].chips == 1
    strict = data.model_copy(update={"on_bad_scene": "refuse", "dir": tmp_path / "other"})
    with refused(path, value=key, use="data.on_bad_scene=skip"):
        prepare(strict)


def test_a_shard_that_was_cut(tmp_path: Path) -> None:
    path = look_alike.write_shard(tmp_path / "train/S2L2A/shard_000001.tar", members(0, 3))
    with tarfile.open(path) as archive:
        last = archive.getmembers()[2]
    os.truncate(path, last.offset_data + 1000)
    data = settings_for(tmp_path, "train/S2L2A")
    found = prepare(data)
    assert [one.path for one in found.sources["m"].skipped] == [str(path)]
    assert found.sources["m"].splits["training"].chips == 2
    strict = data.model_copy(update={"on_bad_scene": "refuse", "dir": tmp_path / "other"})
    with refused(path, use="data.on_bad_scene=skip"):
        prepare(strict)


def test_a_changed_shard_is_noticed(tmp_path: Path) -> None:
    path = look_alike.write_shard(tmp_path / "train/S2L2A/shard_000001.tar", members(0, 2))
    data = settings_for(tmp_path, "train/S2L2A")
    prepare(data)
    dataset: Any = KIND.open(as_run(data), "training")
    draw = next(Draw("m", k) for k in range(2) if dataset.chip(Draw("m", k)) == 0)
    content = bytearray(path.read_bytes())
    content[int(dataset.sources["m"].offset[0, 0]) + 300] ^= 1
    path.write_bytes(content)
    with refused(path, kind=DataChanged):
        dataset[draw]
    path.write_bytes(content[:-512])
    dataset.close()
    with refused(path, len(content), len(content) - 512, kind=DataChanged):
        dataset[draw]


def test_what_is_no_folder_of_terramesh(folder: Path, tmp_path: Path) -> None:
    where = "data.sources.m.inputs[0]"
    look_alike.write_shard(tmp_path / "train/LULC/shard.tar", {})
    (tmp_path / "val/S2L2A").mkdir(parents=True)
    for name in ("train", "train/LULC", "nowhere", "val/S2L2A"):
        with refused(where, value=str(tmp_path / name)):
            mesh.survey("m", [str(tmp_path / name)])
    look_alike.write_shard(tmp_path / "train/DEM/shard.tar", {})
    with refused("data.sources.m.inputs", "DEM", "S2L2A"):
        mesh.survey("m", [str(folder / "train/S2L2A"), str(tmp_path / "train/DEM")])
    data = settings_for(folder, "train/S2L2A", bands=("red", "vv"))
    with refused("data.bands", "S2L2A", value="vv"):
        prepare(data)


def test_units_of_time() -> None:
    """Seconds since a day, as xarray writes; and nothing in a zip file but text."""
    from slipway.data.imagery.terramesh.member import Bad, parse

    data = look_alike.member(pixels(0)[:, :1, :8, :8], time=86_400 * 3)
    source = io.BytesIO(data)
    out = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == ".zmetadata":
                content = content.replace(
                    b'"time/.zattrs": {', b'"time/.zattrs": {"units": "seconds since 2020-12-30 00:00:00", '
                )
            new.writestr(name, content)
    assert parse(out.getvalue()).dates == ((2021, 2),)
    with zipfile.ZipFile(out := io.BytesIO(), "w") as new:
        new.writestr("readme.txt", "text")
    with pytest.raises(Bad):
        parse(out.getvalue())
