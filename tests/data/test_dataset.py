"""Samples of prepared data, read by several ranks through Megatron-core."""

import json
import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway.config.schema import Data, Source, Tokenizer
from slipway.data import prepare
from slipway.errors import UserError

LENGTH = 16


def prepared(folder: Path, documents: int, names: str = "ab", **changes: Any) -> Any:
    """A configuration, as far as data is concerned, whose sources hold their name's letter and numbers."""
    for name in names:
        with open(folder / f"{name}.jsonl", "w") as file:
            for i in range(documents):
                file.write(json.dumps({"text": f"{name}{i} " * (3 + i % 20)}) + "\n")
    sources = {
        name: Source(inputs=[str(folder / f"{name}.jsonl")], weight=weight)
        for name, weight in zip(names, (3.0, 1.0), strict=False)
    }
    tokenizer = Tokenizer(kind="byte")
    data = Data(name="test", dir=folder / "d", sources=sources, tokenizer=tokenizer, workers=1, **changes)
    prepare(data, progress=False)
    training = SimpleNamespace(seed=5, sequence_length=LENGTH)
    return SimpleNamespace(data=data, training=training, run=SimpleNamespace(dir=folder / "run"))


def on_ranks(count: int, folder: Path, body: Callable[[int], Any]) -> list[Any]:
    """The body's values on ranks of a gloo group."""
    context = multiprocessing.get_context("fork")
    store = folder / f"store-{os.urandom(4).hex()}"
    pipes, processes = [], []
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_rank, args=(rank, count, store, body, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    found = [pipe.recv() if pipe.poll(100) else "no answer" for pipe in pipes]
    for process in processes:
        process.join(10)
    return found


def _rank(rank: int, count: int, store: Path, body: Callable[[int], Any], pipe: Any) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    try:
        pipe.send(body(rank))
        dist.barrier()
    except BaseException:
        pipe.send(traceback.format_exc())
    finally:
        pipe.close()


def as_lists(samples: Any) -> list[dict[str, list[float]]] | None:
    return (
        None
        if samples is None
        else [{k: v.tolist() for k, v in samples[i].items()} for i in range(len(samples))]
    )


def read(config: Any, sizes: tuple[int, int, int], built: bool = True) -> list[Any]:
    from slipway.data.dataset import build_datasets

    return [as_lists(samples) for samples in build_datasets(config, sizes, lambda: built)]


@pytest.fixture(scope="module", autouse=True)
def imported_once() -> None:
    import slipway.data.dataset  # noqa: F401  so that forked ranks have it


def test_ranks_read_the_same_blend(tmp_path: Path) -> None:
    config = prepared(tmp_path, 200, split=(0.8, 0.1, 0.1))
    found = on_ranks(3, tmp_path, lambda rank: read(config, (80, 8, 0), built=rank != 1))
    train, valid, test = found[0]
    assert found[1] == [None, None, None] and found[2] == found[0] and test is None
    assert len(train) >= 80 and len(valid) >= 8
    for sample in train + valid:
        assert list(sample) == ["tokens", "labels", "loss_mask", "position_ids"]
        assert sample["tokens"][1:] == sample["labels"][:-1]
        assert sample["position_ids"] == list(range(LENGTH)) and sample["loss_mask"] == [1.0] * LENGTH
    of_a = sum(ord("a") in sample["tokens"] for sample in train)
    assert abs(of_a - 0.75 * len(train)) <= 1  # weights 3 and 1
    # stretches of documents: the last tenth is for test, the one before for validation
    numbers = {n for s in valid for n in bytes(t for t in s["tokens"] if t < 256).decode().split()}
    assert {n[1:] for n in numbers if n[:1] in "ab" and len(n) == 4} <= {str(n) for n in range(160, 180)}


def test_indices_are_built_once_and_never_read_half_written(tmp_path: Path) -> None:
    config = prepared(tmp_path, 100, split=(0.8, 0.1, 0.1))
    cache = config.data.dir / "cache"

    def fails_half_way(rank: int) -> str:
        import numpy

        save = numpy.save

        def broken(path: str, *arguments: Any, **options: Any) -> None:
            if "shuffle_index" in path:
                Path(path).write_bytes(b"\x93NUMPY")  # where a kill would leave it
                raise KeyboardInterrupt
            save(path, *arguments, **options)

        numpy.save = broken
        try:
            read(config, (40, 4, 0))
        except KeyboardInterrupt:
            return "killed"
        return "done"

    assert on_ranks(1, tmp_path, fails_half_way) == ["killed"]
    assert list(cache.rglob("*shuffle_index.npy"))
    [first] = on_ranks(1, tmp_path, lambda rank: read(config, (40, 4, 0)))
    assert len(first[0]) >= 40, first
    [complete] = [path for path in cache.iterdir() if "." not in path.name]
    before = {path: path.stat().st_mtime_ns for path in complete.iterdir()}
    assert on_ranks(2, tmp_path, lambda rank: read(config, (40, 4, 0))) == [first, first]
    assert {path: path.stat().st_mtime_ns for path in complete.iterdir()} == before


def test_seed_and_length_matter(tmp_path: Path) -> None:
    config = prepared(tmp_path, 100, names="a", split=(1, 0, 0))
    first = read(config, (50, 0, 0))[0]
    assert read(config, (50, 0, 0))[0] == first  # one source needs no process group
    config.training.seed = 6
    assert read(config, (50, 0, 0))[0] != first
    config.training.sequence_length = 2 * LENGTH
    assert len(read(config, (50, 0, 0))[0][0]["tokens"]) == 2 * LENGTH


def test_more_samples_than_the_text_has(tmp_path: Path) -> None:
    config = prepared(tmp_path, 3, names="a", split=(1, 0, 0))
    tokens = sum(len(f"a{i} ") * (3 + i) + 1 for i in range(3))
    train = read(config, (200, 0, 0))[0]
    assert len(train) >= 200 > tokens / LENGTH


def test_a_split_without_documents(tmp_path: Path) -> None:
    config = prepared(tmp_path, 10, names="a")
    with pytest.raises(
        UserError, match=r"10 documents of data.sources.a gives 10 .*, 0 .*, 0 .*none for validation"
    ):
        read(config, (10, 1, 0))
    assert len(read(config, (10, 0, 0))[0]) >= 10


def test_folder_of_someone_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = prepared(tmp_path, 50, names="a", split=(1, 0, 0))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != config.data.dir and access(path, mode))
    read(config, (10, 0, 0))
    assert not (config.data.dir / "cache").exists()
    assert list((config.run.dir / "cache").iterdir())
