"""Samples of prepared data: which tokens they are, in which order, and what happens when a file changes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from refusals import check, refused
from slipway.data import find_position
from slipway.data.files import DataChanged
from slipway.data.ledger import DataLedger, Draw
from slipway.data.text import manifest
from slipway.data.text.config import Config as Data
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.kind import KIND
from slipway.data.text.preparation import prepare
from slipway.data.text.split import document_counts
from slipway.data.text.tokens import TokenFile, find_split

LENGTH = 16
SPLIT = (0.8, 0.15, 0.05)


def prepared(folder: Path, documents: int = 60, names: str = "ab", **changes: Any) -> Any:
    """A configuration, as far as data is concerned, whose sources hold their name's letter and numbers."""
    for name in names:
        with open(folder / f"{name}.jsonl", "w") as file:
            for i in range(documents):
                file.write(json.dumps({"text": f"{name}{i} " * (3 + i % 20)}) + "\n")
    data = Data(
        name="test",
        dir=folder / "d",
        sequence_length=LENGTH,
        sources={
            name: Source(inputs=[str(folder / f"{name}.jsonl")], weight=weight)
            for name, weight in zip(names, (3.0, 1.0), strict=False)
        },
        tokenizer=Tokenizer(kind="byte"),
        workers=1,
        split=changes.pop("split", SPLIT),
    )
    prepare(data, progress=False)
    return SimpleNamespace(
        data=data,
        training=SimpleNamespace(seed=5, **changes),
        validation=SimpleNamespace(steps=1),
        run=SimpleNamespace(dir=folder / "run"),
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepared(tmp_path_factory.mktemp("data"))


def open_dataset(config: Any, split: str = "training") -> Any:
    from slipway.data.text.dataset import open_dataset

    return open_dataset(config, split)  # type: ignore[arg-type]


def read(dataset: Any, draw: Draw) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in dataset[draw].items()}


def texts(config: Any, name: str, split: str) -> list[int]:
    """All tokens of a split, one document after the other, as Megatron-core reads them."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    dataset: Any = IndexedDataset(manifest.prefix(config.data, name))
    training, validation, _ = document_counts(len(dataset), config.data.split)
    documents = range(training) if split == "training" else range(training, training + validation)
    return [int(token) for i in documents for token in dataset[i]]


@pytest.mark.parametrize("split", ["training", "validation"])
def test_an_epoch_is_every_token_once(config: Any, split: str) -> None:
    dataset = open_dataset(config, split)
    for name, size in dataset.sizes.items():
        tokens = texts(config, name, split)
        assert size == (len(tokens) - 1) // LENGTH > 3
        expected = [tokens[k * LENGTH : k * LENGTH + LENGTH + 1] for k in range(size)]
        orders = []
        for epoch in range(2):
            samples = [read(dataset, Draw(name, epoch * size + i)) for i in range(size)]
            for sample in samples:
                assert list(sample) == ["tokens", "labels", "loss_mask", "position_ids"]
                assert sample["position_ids"] == list(range(LENGTH)) and sample["loss_mask"] == [1.0] * LENGTH
            orders.append([s["tokens"] + s["labels"][-1:] for s in samples])
            assert [s["labels"] for s in samples] == [order[1:] for order in orders[-1]]
            assert sorted(orders[-1]) == sorted(expected)
        assert orders[0] != orders[1] and orders[0] != expected


def test_types(config: Any) -> None:
    import torch

    found = {name: value.dtype for name, value in open_dataset(config)[Draw("a", 0)].items()}
    assert found.pop("loss_mask") is torch.float32
    assert set(found.values()) == {torch.int64}


def test_where_documents_meet(config: Any) -> None:
    import torch

    end, options = 256, ("reset_attention_mask", "reset_position_ids", "eod_mask_loss")
    asked = SimpleNamespace(**vars(config))
    asked.data = config.data.model_copy(update=dict.fromkeys(options, True))
    dataset = open_dataset(asked)
    assert read(dataset, Draw("a", 0))["tokens"] == read(open_dataset(config), Draw("a", 0))["tokens"]
    text = torch.tensor([end, 1, 2, end, end, 3, 4, 5, end, 6, 6, 6, 6, 6, 6, end, 7])
    sample = {name: value.tolist() for name, value in dataset.sample(text).items()}
    assert sample["tokens"] == text.tolist()[:-1] and sample["labels"] == text.tolist()[1:]
    assert sample["document_starts"] == [0, 1, 1, 1, 4, 5, 5, 5, 5, 9, 9, 9, 9, 9, 9, 9]
    assert sample["position_ids"] == [0, 0, 1, 2, 0, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6]
    assert sample["loss_mask"] == [0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0]


def test_the_order_depends_on_seed_source_and_split_only(config: Any) -> None:
    first = [read(open_dataset(config), Draw("a", i)) for i in range(5)]
    other = SimpleNamespace(**vars(config))
    other.training = SimpleNamespace(seed=6)
    assert [read(open_dataset(config), Draw("a", i)) for i in range(5)] == first
    assert [read(open_dataset(other), Draw("a", i)) for i in range(5)] != first


@pytest.mark.parametrize("entries", [60_000, 70_000])
def test_both_types_of_tokens(tmp_path: Path, entries: int) -> None:
    """uint16 above 32,767, and int32; the borders of documents are found in the index."""
    from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

    prefix, dtype = str(tmp_path / "a"), DType.optimal_dtype(entries)
    written = np.random.default_rng(0).integers(entries - 100, entries, 500)
    builder: Any = IndexedDatasetBuilder(f"{prefix}.bin", dtype)
    for start in range(0, 500, 50):
        builder.add_document(written[start : start + 50], [50])
    builder.finalize(f"{prefix}.idx")
    record: Any = SimpleNamespace(
        documents=10, tokens=500, bin=SimpleNamespace(bytes=500 * np.dtype(dtype).itemsize)
    )
    for which, first, count in (("training", 0, 300), ("validation", 300, 150), ("test", 450, 50)):
        stretch = find_split(prefix, record, (0.6, 0.3, 0.1), which)  # type: ignore[arg-type]
        assert stretch[:2] == (first, count)
        file = TokenFile(Path(f"{prefix}.bin"), stretch.dtype, record.bin.bytes)
        assert file.read(first, count).tolist() == written[first : first + count].tolist()
        file.close()
    record.documents = 11
    with refused("data.dir", "a.idx", 10, 11):
        find_split(prefix, record, (1, 0, 0), "training")


def append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def modify(path: Path) -> None:
    content = path.read_bytes()
    with open(path, "r+b") as file:
        file.write(bytes(255 - byte for byte in content[:100]))


CHANGES = {"truncated": lambda path: os.truncate(path, 10), "longer": append, "modified": modify}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    config = prepared(tmp_path, names="a")
    path = config.data.dir / "a.bin"
    dataset = open_dataset(config)
    dataset[Draw("a", 0)]
    size = path.stat().st_size
    CHANGES[change](path)
    with pytest.raises(DataChanged) as found:
        dataset[Draw("a", 1)]
    check(found.value, path, path.stat().st_size, size)


def test_a_truncated_file_is_no_crash(tmp_path: Path) -> None:
    """In a process of its own, which SIGBUS would end."""
    config = prepared(tmp_path, names="a")
    program = (
        "import os, sys, numpy\nfrom pathlib import Path\nfrom slipway.data.files import DataChanged\n"
        "from slipway.data.text.tokens import TokenFile\n"
        "path = Path(sys.argv[1])\nfile = TokenFile(path, numpy.dtype('<u2'), path.stat().st_size)\n"
        "os.truncate(path, 0)\ntry:\n    file.read(5000, 100)\nexcept DataChanged:\n    print('found')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(config.data.dir / "a.bin")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "found\n"), done.stderr


def test_another_size_than_the_manifest_says(tmp_path: Path) -> None:
    config = prepared(tmp_path, names="a")
    os.truncate(config.data.dir / "a.bin", 10)
    with refused("data.dir", "a.bin", 10):
        open_dataset(config)


@pytest.mark.parametrize("change", ["changed", "gone", "a folder now", "leads nowhere"])
def test_training_reads_what_was_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    config = prepared(tmp_path, names="a")
    saved = find_position(config, None, verify=True)
    path = tmp_path / "a.jsonl"
    path.unlink()
    if change == "changed":
        path.write_text('{"text": "something else"}\n')
    elif change == "a folder now":
        (path / "inner").mkdir(parents=True)
        (path / "inner/nowhere").symlink_to("nowhere")
    elif change == "leads nowhere":
        path.symlink_to("nowhere")
    capsys.readouterr()
    KIND.make_ready(config, prepare=True)
    said = capsys.readouterr().out.splitlines()
    quiet = change in ("gone", "leads nowhere")  # as where they were never copied to
    assert len(said) == (0 if quiet else 1) and all(
        "training reads what was prepared" in line for line in said
    )
    KIND.make_ready(config, prepare=False)
    assert capsys.readouterr().out == ""
    assert find_position(config, saved, verify=True) == saved


class TestBetweenSegments:
    """What a checkpoint says of the data is compared before a run goes on."""

    def test_nothing_changed(self, config: Any, capsys: pytest.CaptureFixture[str]) -> None:
        begun = find_position(config, None, verify=True)
        assert begun.weights == {"a": 0.75, "b": 0.25} and begun.facts.keys() == begun.signatures.keys()
        saved = DataLedger.model_validate_json(begun.advance(30).model_dump_json())
        assert find_position(config, saved, verify=True) == saved
        assert capsys.readouterr().out == ""

    def test_modified_with_the_same_size(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        config = prepared(tmp_path)
        saved = find_position(config, None, verify=True).advance(30)
        modify(config.data.dir / "b.bin")
        with refused("data.sources.b", value=config.data.dir / "b.bin", use="`slipway data`"):
            find_position(config, saved, verify=True)
        said = capsys.readouterr().out.splitlines()
        assert len(said) == 1 and "b.bin was written or copied" in said[0]

    def test_a_copy_is_accepted(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        config = prepared(tmp_path)
        saved = find_position(config, None, verify=True).advance(30)
        os.utime(config.data.dir / "a.bin", ns=(1, 1))
        resumed = find_position(config, saved, verify=True)
        assert "a.bin was written or copied" in capsys.readouterr().out
        assert resumed.signatures["a"] != saved.signatures["a"]
        assert resumed.model_copy(update={"signatures": saved.signatures}) == saved
        assert find_position(config, resumed, verify=True) == resumed
        assert capsys.readouterr().out == ""

    def test_other_text_of_the_same_name(self, tmp_path: Path) -> None:
        (tmp_path / "1").mkdir()
        (tmp_path / "2").mkdir()
        saved = find_position(prepared(tmp_path / "1"), None, verify=True).advance(30)
        with refused("data.sources.a", "checksum"):
            find_position(prepared(tmp_path / "2", documents=61), saved, verify=True)

    @pytest.mark.parametrize(
        ("length", "split", "facts"),
        [
            (8, SPLIT, ["data.sequence_length", 8, LENGTH]),
            (LENGTH, (0.7, 0.2, 0.1), ["data.split", "[0.7, 0.2, 0.1]", str([*SPLIT])]),
        ],
    )
    def test_other_samples(
        self, config: Any, length: int, split: tuple[float, float, float], facts: list[object]
    ) -> None:
        saved = find_position(config, None, verify=True).advance(30)
        now: Any = SimpleNamespace(**vars(config))
        now.data = config.data.model_copy(update={"sequence_length": length, "split": split})
        with refused("data.sources.a", *facts):
            find_position(now, saved, verify=True)


@pytest.mark.parametrize(
    ("length", "split", "path", "facts"),
    [
        (10**6, (1, 0, 0), "data.sources.a", ["training", "data.sequence_length 1000000 + 1"]),
        (
            100,
            (0.98, 0.02, 0),
            "data.sources.a",
            ["validation", "data.sequence_length 100 + 1", "validation.steps=0"],
        ),
        (LENGTH, (1, 0, 0), "data.split", ["data.sources.a", 60, 0, "validation.steps=0"]),
    ],
)
def test_too_little_text(
    config: Any, length: int, split: tuple[float, float, float], path: str, facts: list[object]
) -> None:
    now: Any = SimpleNamespace(**vars(config))
    now.data = config.data.model_copy(update={"sequence_length": length, "split": split})
    now.validation = SimpleNamespace(steps=0 if length == 10**6 else 1)
    with refused(path, *facts):
        KIND.make_ready(now, prepare=False)
