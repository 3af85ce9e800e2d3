"""From files of conversations to packed samples: the same bytes however it is done, and nothing dropped unsaid."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conversations import CHATML, LLAMA3, turns, write_lines, write_tokenizer
from refusals import refused
from slipway.data.chat import manifest, preparation
from slipway.data.chat.config import Config as Data
from slipway.data.chat.preparation import prepare
from slipway.data.chat.summary import summary
from slipway.data.chat.tokenizer import ChatTokenizer
from slipway.errors import UserError

FILES = [
    "chat_template.jinja",
    "some.bin",
    "some.idx",
    "some.loss",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


def said(number: int) -> list[dict[str, str]]:
    """A conversation that holds its number, of a length that depends on it."""
    return turns(*[f"{number} " * (1 + number % 5), f"-{number}" * (1 + number % 7)] * (1 + number % 3))


@pytest.fixture
def chatml(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "chatml", CHATML)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "a.jsonl", [said(number) for number in range(300)])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "block_size", lambda total: 4096)


def test_what_is_written(lines: Path, chatml: Path, data_of: Callable[..., Data]) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    data = data_of(chatml, lines, split=(0.8, 0.2, 0), sequence_length=256)
    found = prepare(data, progress=False)
    assert sorted(contents(data.dir)) == sorted(["manifest.json", *FILES])
    record = found.sources["some"]
    index = IndexedDataset(str(data.dir / "some"))
    loss = np.fromfile(data.dir / "some.loss", np.uint8)
    assert len(index) == record.conversations == 300
    assert len(index.document_indices) - 1 == record.samples
    # the conversations of the file, each once, with their own loss
    tokenizer = ChatTokenizer(chatml)
    expected = tokenizer.encode([tokenizer.words(said(number)) for number in range(300)])
    wanted = sorted((one.tokens.tolist(), one.loss.tolist()) for one in expected)
    starts = np.cumsum(index.sequence_lengths) - index.sequence_lengths
    got = [
        (np.asarray(index[i]).tolist(), loss[start : start + length].astype(bool).tolist())
        for i, (start, length) in enumerate(zip(starts, index.sequence_lengths, strict=True))
    ]
    assert sorted(got) == wanted
    assert record.tokens == sum(len(tokens) for tokens, _ in wanted)
    assert record.loss_tokens == sum(sum(mask) for _, mask in wanted)
    assert record.longest == max(len(tokens) for tokens, _ in wanted)
    # samples in the order of the splits; no more in one than it has room for
    places = [
        sum(index.sequence_lengths[begin:end] - 1)
        for begin, end in zip(index.document_indices[:-1], index.document_indices[1:], strict=True)
    ]
    assert all(0 < count <= data.sequence_length for count in places)
    counts = {name: split.conversations for name, split in record.splits.items()}
    assert counts == {"training": 240, "validation": 60, "test": 0}
    assert sum(split.samples for split in record.splits.values()) == record.samples
    assert found.tokenizer.end_of_document_id == tokenizer.special["<|im_end|>"]
    assert found.template.ends == {"<|im_end|>": sum(len(said(number)) // 2 for number in range(300))}
    assert f"{record.samples:,} samples" in summary(data, found)


def test_splits_are_fair_samples(lines: Path, chatml: Path, data_of: Callable[..., Data]) -> None:
    """Of a file in order, validation gets conversations from everywhere, and none that training has."""
    from slipway.data.chat.writing import shared_out

    found = shared_out(300, "some", (0.8, 0.2, 0))
    assert sorted([*found["training"], *found["validation"]]) == list(range(300))
    thirds = np.histogram(found["validation"], bins=3, range=(0, 300))[0]
    assert thirds.min() >= 10
    assert shared_out(300, "other", (0.8, 0.2, 0)) != found


@pytest.mark.timeout(120)
def test_same_bytes_from_any_number_of_workers(
    lines: Path, chatml: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for workers, size in ((1, 1 << 20), (3, 4096)):
        monkeypatch.setattr(preparation, "block_size", lambda total, size=size: size)
        data = data_of(chatml, lines, folder=f"by {workers}", workers=workers)
        prepare(data, progress=False)
        found.append(contents(data.dir))
    assert found[0] == found[1]


KILLED = """
import os, pickle, sys
from slipway.data.chat import preparation
preparation.block_size = lambda total: 4096
of_block = preparation.read_counts
def read_counts(shard):
    if shard.stem == "000004":
        while not shard.with_name("000002.npz").exists():
            pass
        os.kill(os.getpid(), 9)
    return of_block(shard)
preparation.read_counts = read_counts
preparation.prepare(pickle.load(sys.stdin.buffer), progress=False)
"""


@pytest.mark.timeout(120)
def test_an_interrupted_preparation_goes_on(
    lines: Path, chatml: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    data = data_of(chatml, lines, folder="interrupted")
    done = subprocess.run([sys.executable, "-c", KILLED], input=pickle.dumps(data), capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    shards = sorted((data.dir / "work" / "some").glob("*.npz"))
    assert len(shards) >= 3
    assert not (data.dir / "manifest.json").exists()
    before = {path: path.stat().st_mtime_ns for path in shards}
    kept: dict[Path, int] = {}
    small_blocks(monkeypatch)
    monkeypatch.setattr(
        preparation.workspace,
        "remove",
        lambda work: kept.update({path: path.stat().st_mtime_ns for path in before}),
    )
    prepare(data, progress=False)
    assert kept == before, "what was done is not done again"
    whole = data_of(chatml, lines, folder="whole")
    prepare(whole, progress=False)
    ours = contents_without_work(data.dir)
    assert ours == contents_without_work(whole.dir)


def contents_without_work(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("manifest.json", *FILES)}


def test_prepared_once(lines: Path, chatml: Path, data_of: Callable[..., Data]) -> None:
    data = data_of(chatml, lines)
    first = prepare(data, progress=False)
    times = {path: path.stat().st_mtime_ns for path in data.dir.iterdir()}
    assert prepare(data.model_copy(update={"workers": 2}), progress=False) == first
    assert {path: path.stat().st_mtime_ns for path in data.dir.iterdir()} == times
    lines.unlink()
    assert prepare(data, progress=False) == first


def test_what_is_prepared_is_not_overwritten(
    lines: Path, chatml: Path, tmp_path: Path, data_of: Callable[..., Data]
) -> None:
    data = data_of(chatml, lines)
    prepare(data, progress=False)
    before = contents(data.dir)
    other = write_lines(tmp_path / "b.jsonl", [said(1)])
    llama3 = write_tokenizer(tmp_path / "llama3", LLAMA3)
    for asked, path in (
        (data.model_copy(update={"sequence_length": 64}), "data.sequence_length"),
        (data.model_copy(update={"split": (0.5, 0.5, 0)}), "data.split"),
        (data.model_copy(update={"long": "refuse"}), "data.long"),
        (data.model_copy(update={"malformed": "leave_out"}), "data.malformed"),
        (data_of(chatml, other), "data.sources.some.inputs"),
        (data_of(chatml, lines, template=llama3 / "chat_template.jinja"), "data.tokenizer.template"),
    ):
        for call in (manifest.load, lambda asked: prepare(asked, progress=False)):
            with refused(path, data.dir, use="`slipway data`"):
                call(asked)
    tokenizer = chatml / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with refused("data.tokenizer.path", value=tokenizer):
        manifest.load(data)
    assert contents(data.dir) == before


LONG = turns("2+2?", "4" * 100)  # more than 128 tokens, with the assistant's among the first 65
LATE = turns("2+2?" * 40, "4")  # none of them among the first 65


@pytest.mark.parametrize(
    ("long", "kept", "cut", "left_out"),
    [("cut", 2, 1, {"without words of the assistant": 1}), ("leave_out", 1, 0, {"too long": 2})],
)
def test_longer_than_a_sample(
    tmp_path: Path,
    data_of: Callable[..., Data],
    capsys: pytest.CaptureFixture[str],
    long: str,
    kept: int,
    cut: int,
    left_out: dict[str, int],
) -> None:
    tokenizer = write_tokenizer(tmp_path / "llama3", LLAMA3)
    lines = write_lines(tmp_path / "a.jsonl", [turns("2+2?", "4"), LONG, LATE])
    data = data_of(tokenizer, lines, long=long, sequence_length=64)
    record = prepare(data, progress=False).sources["some"]
    assert (record.conversations, record.cut) == (kept, cut)
    assert {kind: one.count for kind, one in record.left_out_conversations.items()} == left_out
    said = capsys.readouterr().err
    for kind, one in record.left_out_conversations.items():
        assert one.first.startswith(f"{lines}, line ")
        assert kind in said
        assert one.first in said
    lengths = np.frombuffer((data.dir / "some.idx").read_bytes()[34 : 34 + 4 * kept], "<i4")
    assert lengths.max() <= 65
    assert (65 in lengths) == bool(cut)


def test_longer_than_a_sample_refused(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    tokenizer = write_tokenizer(tmp_path / "llama3", LLAMA3)
    lines = write_lines(tmp_path / "a.jsonl", [turns("2+2?", "4"), LONG])
    data = data_of(tokenizer, lines, long="refuse", sequence_length=64)
    with refused(f"{lines}, line 2", "64 + 1 = 65", use=["data.long=cut", "data.long=leave_out"]):
        prepare(data, progress=False)
    assert not data.dir.exists()


BAD = [
    ([{"role": "narrator", "content": "x"}], "unknown role"),
    (turns("2+2?", ""), "an empty turn"),
    (turns("2+2?", "4<|im_end|>"), "special tokens"),
]


@pytest.mark.parametrize(("bad", "kind"), BAD, ids=[kind for _, kind in BAD])
def test_malformed_conversations(
    tmp_path: Path, chatml: Path, data_of: Callable[..., Data], bad: list, kind: str
) -> None:
    lines = write_lines(tmp_path / "a.jsonl", [turns("2+2?", "4"), bad, bad])
    with refused(f"{lines}, line 2", use="data.malformed=leave_out"):
        prepare(data_of(chatml, lines), progress=False)
    found = prepare(data_of(chatml, lines, malformed="leave_out"), progress=False)
    record = found.sources["some"]
    assert record.conversations == 1
    [(reason, left_out)] = record.left_out_conversations.items()
    assert reason == kind
    assert left_out.count == 2
    assert left_out.first.startswith(f"{lines}, line 2: ")


def test_a_conversation_without_the_assistant_is_left_out(
    tmp_path: Path, chatml: Path, data_of: Callable[..., Data]
) -> None:
    lines = write_lines(tmp_path / "a.jsonl", [turns("2+2?"), turns("2+2?", "4")])
    record = prepare(data_of(chatml, lines), progress=False).sources["some"]
    assert record.conversations == 1
    assert {kind: one.count for kind, one in record.left_out_conversations.items()} == {
        "without words of the assistant": 1
    }
    alone = write_lines(tmp_path / "b.jsonl", [turns("2+2?")])
    data = data_of(chatml, alone, folder="none")
    with refused("data.sources.some", f"{alone}, line 1"):
        prepare(data, progress=False)
    assert not data.dir.exists()


def test_a_template_that_refuses_a_conversation(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    template = (
        "{% if messages[0].role != 'user' %}{{ raise_exception('roles alternate') }}{% endif %}" + CHATML
    )
    tokenizer = write_tokenizer(tmp_path / "picky", template)
    lines = write_lines(tmp_path / "a.jsonl", [turns("2+2?", "4"), turns("2+2?", "4", system="x")])
    with pytest.raises(UserError, match="roles alternate") as caught:
        prepare(data_of(tokenizer, lines), progress=False)
    assert caught.value.path == f"{lines}, line 2"


def test_what_a_run_keeps_is_a_tokenizer_that_stops(
    lines: Path, chatml: Path, data_of: Callable[..., Data]
) -> None:
    from transformers import PreTrainedTokenizerFast

    data = data_of(chatml, lines)
    prepare(data, progress=False)
    kept = PreTrainedTokenizerFast.from_pretrained(data.dir)
    assert kept.eos_token == "<|im_end|>"
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        assert json.loads((data.dir / name).read_text())["eos_token"] == "<|im_end|>"
    assert kept.bos_token == "<|bos|>"
    theirs = kept.apply_chat_template(said(3), tokenize=True, return_dict=False, add_generation_prompt=True)
    ours = ChatTokenizer(data.dir)
    assert ours.library.encode(ours.render(said(3), True), add_special_tokens=False).ids == theirs
    assert json.loads((chatml / "tokenizer_config.json").read_text()).get("eos_token") is None


def test_turns_without_an_end(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    tokenizer = write_tokenizer(tmp_path / "plain", template)
    lines = write_lines(tmp_path / "a.jsonl", [turns("2+2?", "4"), turns("2+2?", "4", "a", "b")])
    data = data_of(tokenizer, lines)
    with refused(
        "data.tokenizer.template", "3 of 3", value=tokenizer / "chat_template.jinja", use="eos_token"
    ):
        prepare(data, progress=False)
    assert not data.dir.exists()


def test_lines_that_are_no_json(tmp_path: Path, chatml: Path, data_of: Callable[..., Data]) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps({"messages": turns("2+2?", "4")}) + "\n\n{\n")
    with refused(f"{lines}, line 3"):
        prepare(data_of(chatml, lines, malformed="leave_out"), progress=False)


def test_only_json_lines_are_read(tmp_path: Path, chatml: Path, data_of: Callable[..., Data]) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    write_lines(folder / "a.jsonl", [turns("2+2?", "4")])
    (folder / "notes.txt").write_text("x")
    found = prepare(data_of(chatml, folder), progress=False)
    assert (found.sources["some"].files, found.sources["some"].left_out) == (1, 1)
    with refused("data.sources.some.inputs[0]", value=folder / "notes.txt", use=".jsonl"):
        prepare(data_of(chatml, folder / "notes.txt", folder="other"), progress=False)


def test_a_template_that_writes_the_date(tmp_path: Path, lines: Path, data_of: Callable[..., Data]) -> None:
    tokenizer = write_tokenizer(tmp_path / "dated", "{{ strftime_now('%Y') }}" + CHATML)
    with refused("data.tokenizer.date", use="2025-01-31"):
        prepare(data_of(tokenizer, lines), progress=False)
    data = data_of(tokenizer, lines, date="2025-01-31")
    prepare(data, progress=False)
    with refused("data.tokenizer.date", "2025-01-31"):
        manifest.load(data_of(tokenizer, lines))
