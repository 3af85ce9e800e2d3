"""Samples of prepared chips: which they are, in which order, and what happens when a file changes."""

import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prepared_chips import BANDS, LAYOUT, SPLIT, changed, chip, prepared
from refusals import refused
from slipway.data import find_position
from slipway.data.files import DataChanged
from slipway.data.imagery import manifest
from slipway.data.imagery.buffers import Buffers
from slipway.data.imagery.kind import KIND
from slipway.data.imagery.split import split_of
from slipway.data.ledger import DataLedger, Draw
from slipway.data.reader import Reader


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepared(tmp_path_factory.mktemp("data"))


def open_dataset(config: Any, split: str = "training", fields: frozenset[str] | None = None) -> Any:
    return KIND.open(config, split, fields)  # type: ignore[arg-type]


def chips_of(name: str, split: str = "training", counts: dict[str, int] | None = None) -> list[Any]:
    """The chips of a source and split, as `prepared` makes them."""
    counts = counts or {"a": 30, "b": 12}
    every = [chip(k, seed=list(counts).index(name)) for k in range(counts[name])]
    shares = split_of([one.place for one in every], SPLIT)
    return [one for one in every if shares[one.place] == split]


@pytest.mark.parametrize("split", ["training", "validation"])
def test_an_epoch_is_every_chip_once(config: Any, split: str) -> None:
    dataset = open_dataset(config, split)
    for name, size in dataset.sizes.items():
        expected = {one.pixels.tobytes(): one for one in chips_of(name, split)}
        assert size == len(expected) >= 3
        orders = []
        for epoch in range(2):
            samples = [dataset[Draw(name, epoch * size + i)] for i in range(size)]
            orders.append([sample["pixels"].numpy().tobytes() for sample in samples])
            assert sorted(orders[-1]) == sorted(expected)
            for sample in samples:
                one = expected[sample["pixels"].numpy().tobytes()]
                assert sample["dates"].tolist() == [[float(year), float(day)] for year, day in one.dates]
                assert sample["location"].tolist() == pytest.approx([one.latitude, one.longitude], rel=1e-6)
        assert size < 4 or list(expected) != orders[0] != orders[1]


def test_fields(config: Any) -> None:
    found = {
        name: (value.dtype, tuple(value.shape)) for name, value in open_dataset(config)[Draw("a", 0)].items()
    }
    assert found == {
        "pixels": (torch.int16, LAYOUT.shape),
        "mean": (torch.float32, (LAYOUT.bands,)),
        "std": (torch.float32, (LAYOUT.bands,)),
        "dates": (torch.float32, (LAYOUT.dates, 2)),
        "location": (torch.float32, (2,)),
    }
    assert KIND.traits(config) == {
        "frames": LAYOUT.dates,
        "bands": BANDS,
        "size": LAYOUT.size,
        "dtype": "int16",
    }


def test_a_rank_without_pixels_reads_none(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(config, fields=frozenset({"location"}))
    monkeypatch.setattr(os, "preadv", None)
    assert "pixels" not in dataset[Draw("a", 0)]


def test_statistics_are_prepared_or_given(config: Any) -> None:
    pixels = np.stack([one.pixels for name in "ab" for one in chips_of(name)])
    known = np.ma.masked_equal(pixels, -32768).astype(np.float64)
    sample = open_dataset(config)[Draw("a", 0)]
    assert sample["mean"].tolist() == pytest.approx(known.mean(axis=(0, 1, 3, 4)).tolist())
    assert sample["std"].tolist() == pytest.approx(known.std(axis=(0, 1, 3, 4)).tolist())
    sample = open_dataset(changed(config, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)))[Draw("a", 0)]
    assert (sample["mean"].tolist(), sample["std"].tolist()) == ([1, 2, 3], [4, 5, 6])


blends = st.sampled_from([{"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 1.0}, {"a": 0.2, "b": 1.0}])
ranks = st.sampled_from([1, 2, 4])


@settings(max_examples=25, deadline=None)
@given(
    segments=st.lists(
        st.tuples(blends, ranks, st.integers(1, 3), st.integers(1, 4), st.booleans()), min_size=1, max_size=5
    )
)
def test_each_chip_once_whatever_ranks_batch_and_blend(config: Any, segments: Any) -> None:
    """Over each source's epochs, also where the run is continued by other ranks with another blend and batch.

    Ranks read as the trainer's do: each its own places of the batch, by a Reader.
    """
    dataset = open_dataset(changed(config, crop_size=8, flip=True))
    every = {name: DataLedger.begin(5, {name: 1}, {}).draw(400) for name in "ab"}
    seen: dict[str, list[bytes]] = {"a": [], "b": []}
    data = None
    for weights, count, micro, steps, saved in segments:
        facts = {name: dict(KIND.facts(config, name)) for name in weights}
        data = data or DataLedger.begin(5, weights, facts)
        if saved:
            data = DataLedger.model_validate_json(data.model_dump_json())
        data = data.resume(5, weights, facts)
        batch = count * micro
        readers = [
            Reader(dataset, batch, [range(rank * micro, (rank + 1) * micro)], torch.device("cpu"))
            for rank in range(count)
        ]
        for _ in range(steps):
            following = data.advance(batch)
            read = [reader.read(data, following)[0]["pixels"] for reader in readers]
            drawn = data.draw(batch)
            for draw, sample in zip(drawn, torch.cat(read), strict=True):
                seen[draw.source].append(sample.numpy().tobytes())
            data = following
        for reader in readers:
            reader.close()
    for name, size in dataset.sizes.items():
        found = seen[name]
        # the sample of a number is the same, whoever reads it and whenever
        alone = [dataset[draw]["pixels"].numpy().tobytes() for draw in every[name][: len(found)]]
        assert found == alone
        numbers = [dataset.chip(draw) for draw in every[name][: len(found)]]
        for first in range(0, len(numbers), size):
            epoch = Counter(numbers[first : first + size])
            assert set(epoch.values()) == {1}
            assert len(epoch) == size or first + size > len(numbers)


def test_the_order_depends_on_seed_source_and_split_only(config: Any) -> None:
    def first(seed: int) -> list[list[int]]:
        other = SimpleNamespace(**{**vars(config), "training": SimpleNamespace(seed=seed)})
        dataset = open_dataset(other)
        return [dataset[Draw("a", i)]["pixels"].flatten().tolist() for i in range(5)]

    assert first(5) == first(5) != first(6)


def test_crops_and_turns(config: Any) -> None:
    """Of every chip a square as it is, turned or mirrored; over the draws all places and all eight ways come."""
    dataset = open_dataset(changed(config, crop_size=10, flip=True))
    chips = chips_of("a")
    found = set()
    for number in range(150):
        draw = Draw("a", number)
        whole, sample = chips[dataset.chip(draw)].pixels, dataset[draw]["pixels"].numpy()
        assert sample.shape == (*LAYOUT.shape[:2], 10, 10)
        ways = [
            (top, left, turns, mirrored)
            for top in range(3)
            for left in range(3)
            for turns in range(4)
            for mirrored in (False, True)
            if np.array_equal(sample, way(whole[..., top : top + 10, left : left + 10], turns, mirrored))
        ]
        assert len(ways) == 1
        found |= set(ways)
    assert {one[:1] for one in found} == {(k,) for k in range(3)} == {one[1:2] for one in found}
    assert {one[2:] for one in found} == {
        (turns, mirrored) for turns in range(4) for mirrored in (False, True)
    }


def way(pixels: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(pixels, turns, axes=(-2, -1))
    return turned[..., ::-1] if mirrored else turned


def test_validation_sees_the_middle(config: Any) -> None:
    dataset = open_dataset(changed(config, crop_size=8, flip=True), "validation")
    chips = chips_of("a", "validation")
    for number in range(len(chips)):
        draw = Draw("a", number)
        middle = chips[dataset.chip(draw)].pixels[..., 2:10, 2:10]
        assert np.array_equal(dataset[draw]["pixels"].numpy(), middle)


def test_buffers_are_used_again_and_never_twice_at_once() -> None:
    buffers = Buffers((4, 4), np.dtype(np.int16))
    tensor, memory = buffers.take()
    place = tensor.data_ptr()
    view = tensor[1:, 2:]
    del tensor, memory
    other, _ = buffers.take()
    assert other.data_ptr() != place, "a view is left"
    del view
    again, _ = buffers.take()
    assert again.data_ptr() == place and len(buffers.free) == 0
    del other, again, _
    gc.collect()
    assert len(buffers.free) == 2


# --- what changes underneath


def test_a_wrong_byte_is_noticed(tmp_path: Path) -> None:
    config = prepared(tmp_path, {"a": 12})
    dataset = open_dataset(config)
    draw = Draw("a", 0)
    dataset[draw]
    record = manifest.load(config.data).sources["a"].splits["training"]
    shard, place = divmod(dataset.chip(draw), record.chips_per_shard)
    path = config.data.dir / manifest.shard_name("a", "training", shard)
    with open(path, "r+b") as file:
        file.seek(LAYOUT.offset(place) + 77)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 4]))
    with refused(path, place, kind=DataChanged):
        dataset[draw]
    path.write_bytes(b"")
    with refused(path, kind=DataChanged):
        dataset[draw]
    path.unlink()
    dataset.close()
    with refused(path, os.strerror(2), kind=DataChanged):
        dataset[draw]


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    config = prepared(tmp_path, {"a": 12})
    path = config.data.dir / manifest.shard_name("a", "training", 0)
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(b"\0")
    with refused("data.dir", size, size + 1, value=path, use=config.data.dir):
        open_dataset(config)
    path.unlink()
    with refused("data.dir", value=path):
        open_dataset(config)


def test_other_chips_are_not_continued_with(tmp_path: Path) -> None:
    config = prepared(tmp_path / "one", {"a": 12})
    data = find_position(config, None, verify=True).advance(3)
    assert find_position(config, data, verify=True) == data
    for name, value in {"crop_size": 8, "flip": True, "mean": (1.0, 2.0, 3.0)}.items():
        fact = "mean" if name == "mean" else f"data.{name}"
        with refused("data.sources.a", fact, use="run.dir"):
            find_position(changed(config, **{name: value}), data, verify=True)
    other = prepared(tmp_path / "two", {"a": 9})
    with refused("data.sources.a", use="run.dir"):
        find_position(other, data, verify=True)


def test_a_changed_shard_is_found_at_the_next_start(tmp_path: Path) -> None:
    config = prepared(tmp_path, {"a": 12})
    data = find_position(config, None, verify=True).advance(3)
    path = config.data.dir / manifest.shard_name("a", "validation", 0)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    with refused("data.sources.a", value=path):
        find_position(config, data, verify=True)


def test_many_shards_and_few_descriptors(tmp_path: Path) -> None:
    """More shards than may be open: they are read all the same, in a process whose limit cannot be raised."""
    config = prepared(tmp_path, {"a": 60}, shard_size=1)
    record = manifest.load(config.data).sources["a"].splits["training"]
    assert len(record.shards) == record.chips == 36
    code = f"""
import resource, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from pathlib import Path
from slipway.data.imagery import manifest
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.stored import StoredChips
import numpy as np
record = manifest.read(Path({str(config.data.dir)!r})).sources["a"].splits["training"]
chips = StoredChips(Path({str(config.data.dir)!r}), "a", "training", record, Layout(*{tuple(LAYOUT)}))
failed = []
def work(seed):
    try:
        pixels = np.empty(chips.layout.shape, np.int16)
        for k in np.random.default_rng(seed).integers(record.chips, size=300):
            chips.read_into(int(k), pixels)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(failed)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_threads_read_what_one_reads(config: Any) -> None:
    dataset = open_dataset(changed(config, crop_size=8, flip=True))
    data = DataLedger.begin(5, {"a": 1, "b": 1}, {})
    batches = [
        Reader(dataset, 24, [range(24)], torch.device("cpu"), threads=threads).read(data, None)[0]["pixels"]
        for threads in (1, 4)
    ]
    assert torch.equal(*batches)


def test_training_opens_no_library_of_scenes(config: Any) -> None:
    """What reads chips imports none of what preparation needs."""
    code = f"""
import sys
from types import SimpleNamespace
from pathlib import Path
from slipway.data.imagery.config import Config
from slipway.data.imagery.kind import KIND
from slipway.data.ledger import Draw
data = Config.model_validate_json({config.data.model_dump_json()!r})
config = SimpleNamespace(data=data, training=SimpleNamespace(seed=5), validation=SimpleNamespace(steps=1))
KIND.check(config); KIND.make_ready(config, False)
KIND.traits(config); KIND.files(config, "a"); KIND.facts(config, "a")
before = "torch" in sys.modules
KIND.open(config, "training")[Draw("a", 3)]
print(before, sorted(set(sys.modules) & {{"rasterio", "osgeo", "xarray", "zarr", "pandas", "numcodecs", "h5py"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False []", done.stdout + done.stderr
