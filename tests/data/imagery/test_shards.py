"""Shards: the bytes follow from chips and configuration alone, and others read them."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepared_chips import LAYOUT, SPLIT, chip, write_parts
from refusals import refused
from slipway.data.imagery import shards, table
from slipway.data.imagery.chip import NODATA, Chip
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import Sums
from slipway.data.imagery.split import SPLITS, split_of
from slipway.data.imagery.statistics import of_sums


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


def written(folder: Path, chips: list[Chip], cuts: list[int], per_shard: int) -> tuple[Any, dict[str, bytes]]:
    parts = write_parts(folder / "parts", chips, cuts)
    plan = shards.plan(parts, SPLIT, LAYOUT, LAYOUT.shard_bytes(per_shard))
    jobs = plan.jobs(folder, "s")
    for job in reversed(jobs):
        record = job.write()
        assert record.bytes == job.path.stat().st_size
        assert record == job.write(), "one that is there is taken as it is"
    return plan, {job.path.name: job.path.read_bytes() for job in jobs}


@settings(max_examples=6, deadline=None)
@given(
    count=st.integers(1, 16),
    cuts=st.lists(st.integers(0, 16), max_size=4),
    per_shard=st.integers(1, 6),
)
def test_any_cut_into_parts_gives_the_same_bytes(
    count: int, cuts: list[int], per_shard: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chips = [chip(k) for k in range(count)]
    _, whole = written(tmp_path_factory.mktemp("a"), chips, [], per_shard)
    _, cut = written(tmp_path_factory.mktemp("b"), chips, [min(c, count) for c in cuts], per_shard)
    assert whole == cut


def test_every_chip_is_in_one_shard_with_all_that_is_known_of_it(folder: Path) -> None:
    chips = [chip(k) for k in range(17)]
    plan, files = written(folder, chips, [4, 4, 9], 3)
    shares = split_of([one.place for one in chips], SPLIT)
    seen = 0
    for split in SPLITS:
        expected = [one for one in chips if shares[one.place] == split]
        rows = table.read(folder / f"s-{split}.npz")
        found: list[np.ndarray] = []
        facts: list[dict[str, Any]] = []
        for number in range(-(-len(expected) // 3)):
            content = files[f"s-{split}-{number:05d}.tar"]
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for place, member in enumerate(archive):
                    assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
                    index = len(found) if member.name.endswith(".npy") else len(found) - 1
                    assert member.name.partition(".")[0] == f"{index:09d}"
                    data = archive.extractfile(member).read()  # type: ignore[union-attr]
                    if member.name.endswith(".npy"):
                        found.append(np.load(io.BytesIO(data)))
                        at = LAYOUT.offset(place // 2)
                        raw = content[at : at + LAYOUT.pixel_bytes]
                        assert raw == found[-1].tobytes()
                        assert table.check_of(memoryview(raw)) == rows["check"][index]
                    else:
                        facts.append(json.loads(data))
        assert len(found) == len(expected) == len(rows["check"])
        for k, one in enumerate(expected):
            assert np.array_equal(found[k], one.pixels)
            assert facts[k] == {
                "dates": [list(date) for date in one.dates],
                "latitude": one.latitude,
                "longitude": one.longitude,
                "epsg": one.epsg,
                "transform": list(one.transform),
            }
            assert rows["dates"][k].tolist() == [list(date) for date in one.dates]
            assert (rows["latitude"][k], rows["longitude"][k]) == (one.latitude, one.longitude)
            assert rows["transform"][k].tolist() == list(one.transform) and rows["epsg"][k] == one.epsg
            assert rows["valid"][k] == pytest.approx(one.valid)
            assert rows["cloudy"][k] == pytest.approx(one.cloudy, nan_ok=True)
            assert rows["place"][k].decode() == one.place
            assert [name.decode() for name in rows["scenes"][k]] == list(one.scenes)
        seen += len(found)
    assert seen == 17
    assert sum(record.places for record in plan.splits.values()) == len(shares) == 6


def test_webdataset_reads_them(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    written(folder, [chip(k) for k in range(9)], [5], 2)
    urls = sorted(str(path) for path in folder.glob("s-training-*.tar"))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    rows = table.read(folder / "s-training.npz")
    assert [int(sample["__key__"]) for sample in samples] == list(range(len(rows["check"])))
    for sample, check in zip(samples, rows["check"], strict=True):
        assert table.check_of(sample["npy"].data) == check
        assert len(sample["json"]["dates"]) == LAYOUT.dates


@given(dates=st.integers(1, 40), bands=st.integers(1, 20), size=st.integers(1, 40))
def test_offsets(dates: int, bands: int, size: int) -> None:
    """Whatever the geometry: numpy reads the header, the facts fit, all begins at multiples of 512 bytes."""
    layout = Layout(dates, bands, size)
    array = np.load(io.BytesIO(layout.npy_header + bytes(layout.pixel_bytes)))
    assert array.shape == layout.shape and array.dtype == np.dtype("<i2")
    longest = -179.12345678901234
    facts = layout.facts([(2024, 366)] * dates, longest, longest, 2**31 - 1, [longest] * 6)  # type: ignore[list-item]
    assert len(facts) == layout.json_bytes
    chip = layout.before(0) + bytes(layout.pixel_bytes) + layout.after(0, facts)
    assert len(chip) == layout.stride and layout.stride % 512 == 0
    assert len(layout.before(7)) == layout.first
    assert layout.shard_bytes(layout.chips_in(10**6)) <= 10**6 or layout.chips_in(10**6) == 1


def test_statistics_are_exact(folder: Path) -> None:
    """As over all training pixels at once, in integers that have no end."""
    chips = [chip(k) for k in range(17)]
    plan, _ = written(folder, chips, [3, 8], 4)
    shares = split_of([one.place for one in chips], SPLIT)
    pixels = np.stack([one.pixels for one in chips if shares[one.place] == "training"])
    by_band = pixels.transpose(2, 0, 1, 3, 4).reshape(LAYOUT.bands, -1)
    for band, values in enumerate(by_band):
        known = [int(v) for v in values if v != NODATA]
        assert 0 < len(known) < len(values)
        assert plan.sums["count"][band] == len(known)
        assert plan.sums["sum"][band] == sum(known)
        assert plan.sums["squares"][band] == sum(v * v for v in known)
    found = of_sums([Sums(**plan.sums)], LAYOUT.bands)
    masked = np.ma.masked_equal(by_band, NODATA).astype(np.float64)
    assert found.mean == pytest.approx(masked.mean(axis=1).tolist(), rel=1e-12)
    assert found.std == pytest.approx(masked.std(axis=1).tolist(), rel=1e-12)


@given(places=st.sets(st.integers(), max_size=40), shares=st.tuples(*[st.floats(0, 1)] * 3))
def test_places_are_dealt_by_share(places: set[int], shares: tuple[float, float, float]) -> None:
    first, *others = shares
    shares = (first + 0.1, *(share if share > 0.001 else 0.0 for share in others))  # type: ignore[assignment]
    names = [f"p{place}" for place in places]
    found = split_of(names, shares)
    assert found.keys() == set(names)
    assert found == split_of([*reversed(names), *names], shares)
    counts = [sum(split == name for split in found.values()) for name in SPLITS]
    for share, count in zip(shares, counts, strict=True):
        assert abs(count - share / sum(shares) * len(places)) <= 2
        assert count == 0 if share == 0 else count > 0 or len(places) < 3


@pytest.mark.parametrize("place", [0, 4095, 4096, 9000, 9599])
def test_the_checksum_sees(place: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 9000, 4800, dtype=np.int16)
    before = table.check_of(pixels.data)
    data = pixels.view(np.uint8)
    data[place] ^= 1
    assert table.check_of(pixels.data) != before
    data[place] ^= 1
    data[:8192] = np.concatenate([data[4096:8192], data[:4096]])
    assert table.check_of(pixels.data) != before, "sectors that have changed places"


def test_an_interrupted_part_is_not_there(folder: Path) -> None:
    part = folder / "000000"
    with pytest.raises(KeyboardInterrupt), shards.PartWriter(part, LAYOUT) as writer:
        writer.add(chip(0))
        raise KeyboardInterrupt
    assert not shards.is_done(part) and list(folder.iterdir()) == []
    write_parts(folder, [chip(0)], [])
    assert shards.is_done(part) and shards.chips_in(part) == 1


def test_a_damaged_part_is_refused(folder: Path) -> None:
    parts = write_parts(folder / "parts", [chip(k) for k in range(3)], [])
    pixels = folder / "parts" / "000000.pixels"
    data = bytearray(pixels.read_bytes())
    data[LAYOUT.pixel_bytes + 5] ^= 1
    pixels.write_bytes(data)
    job = shards.plan(parts, (1, 0, 0), LAYOUT, 10**6).jobs(folder, "s")[0]
    with refused("data.dir", value=pixels, use=pixels.parent):
        job.write()
    assert not job.path.exists() and not list(folder.glob(".*"))
