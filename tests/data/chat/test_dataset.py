"""Samples of conversations: whole, apart, each once an epoch, and the same for whoever reads them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from conversations import CHATML, turns, write_lines, write_tokenizer
from slipway.data.chat.config import Config as Data
from slipway.data.chat.dataset import ChatSource, Dataset, sample
from slipway.data.chat.preparation import prepare
from slipway.data.chat.tokenizer import ChatTokenizer
from slipway.data.files import DataChanged
from slipway.data.kind import Split
from slipway.data.ledger import Draw

LENGTH = 128


@pytest.fixture(scope="module")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("chatml"), CHATML)


def said(number: int) -> list[dict[str, str]]:
    return turns(f"{number}?", f"{number}." * (1 + number % 4), system="Count.")


@pytest.fixture
def data(chatml: Path, tmp_path: Path, data_of: Callable[..., Data]) -> Data:
    lines = write_lines(tmp_path / "a.jsonl", [said(number) for number in range(60)])
    data = data_of(chatml, lines, sequence_length=LENGTH, split=(0.8, 0.2, 0))
    prepare(data, progress=False)
    return data


def opened(data: Data, split: Split) -> Dataset:
    from slipway.data.chat import manifest

    found = manifest.load(data)
    source = ChatSource(str(data.dir / "some"), found.sources["some"], found.token_type, split, f"1/{split}")
    return Dataset({"some": source}, data.sequence_length)


def test_by_hand() -> None:
    tokens, loss = np.array([1, 2, 3, 4, 5, 6, 7]), np.array([0, 0, 1, 1, 0, 1, 1], np.uint8)
    found = sample(tokens, loss, np.array([4, 3]), 8)
    expected = {
        "tokens": [1, 2, 3, 5, 6, 0, 0, 0],
        "labels": [2, 3, 4, 6, 7, 0, 0, 0],
        "loss_mask": [0, 1, 1, 1, 1, 0, 0, 0],
        "position_ids": [0, 1, 2, 0, 1, 0, 1, 2],
        "document_starts": [0, 0, 0, 3, 3, 5, 5, 5],
    }
    assert {name: value.tolist() for name, value in found.items()} == expected
    assert {value.dtype for name, value in found.items() if name != "loss_mask"} == {torch.int64}
    assert found["loss_mask"].dtype == torch.float32


def test_a_conversation_that_fills_its_sample() -> None:
    found = sample(np.arange(1, 6), np.ones(5, np.uint8), np.array([5]), 4)
    assert found["tokens"].tolist() == [1, 2, 3, 4]
    assert found["labels"].tolist() == [2, 3, 4, 5]
    assert found["document_starts"].tolist() == [0, 0, 0, 0]


def test_every_conversation_once_an_epoch(data: Data, chatml: Path) -> None:
    tokenizer = ChatTokenizer(chatml)
    got = []
    for split in ("training", "validation"):
        dataset = opened(data, split)
        for number in range(dataset.sizes["some"]):
            fields = dataset[Draw("some", number)]
            starts = fields["document_starts"]
            for start in starts.unique().tolist():
                here = starts == start
                tokens, labels, mask = (fields[name][here] for name in ("tokens", "labels", "loss_mask"))
                assert fields["position_ids"][here].tolist() == list(range(len(tokens)))
                if not mask.any():
                    assert not tokens.any(), "padding"
                    continue
                # what is predicted is what the same conversation says next
                assert labels[:-1].tolist() == tokens[1:].tolist()
                got.append(([*tokens.tolist(), int(labels[-1])], [False, *mask.bool().tolist()]))
        dataset.close()
    expected = tokenizer.encode([tokenizer.words(said(number)) for number in range(60)])
    assert sorted(got) == sorted((one.tokens.tolist(), one.loss.tolist()) for one in expected)


def test_the_same_for_whoever_reads_it(data: Data) -> None:
    one, other = opened(data, "training"), opened(data, "training")
    size = one.sizes["some"]
    forwards = [one[Draw("some", number)] for number in range(2 * size)]
    for number in reversed(range(2 * size)):
        for name, value in other[Draw("some", number)].items():
            assert torch.equal(value, forwards[number][name])
    # each epoch has the same samples in another order
    first, second = (
        [tuple(fields["tokens"].tolist()) for fields in forwards[start : start + size]] for start in (0, size)
    )
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("end", [".bin", ".idx", ".loss"])
def test_a_file_that_changes_is_noticed(data: Data, end: str) -> None:
    dataset = opened(data, "training")
    path = data.dir / f"some{end}"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataChanged) as caught:
        dataset[Draw("some", 0)]
    assert caught.value.path == str(path)
