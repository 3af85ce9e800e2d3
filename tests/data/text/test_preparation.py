import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refusals import refused
from slipway.data.text import manifest, preparation
from slipway.data.text.config import Config as Data
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.preparation import prepare
from slipway.data.text.summary import summary

FILES = ("some.bin", "some.idx", "tokenizer.json")


@pytest.fixture
def lines(tmp_path: Path, texts: list[str]) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "block_size", lambda total: 2000)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def run_slipway(*words: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "slipway", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.timeout(300)
def test_megatron_reads_what_the_tokenizer_gives(
    lines: Path, texts: list[str], data_of: Callable[..., Data]
) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from tokenizers import Tokenizer as Loaded

    data = data_of(lines, tokenizer=Tokenizer(kind="bpe", vocab_size=500))
    found = prepare(data, progress=False)
    assert manifest.load(data) == found
    tokenizer = Loaded.from_file(str(data.dir / "tokenizer.json"))
    assert found.vocab_size == tokenizer.get_vocab_size() == 500
    assert tokenizer.id_to_token(found.end_of_document_id) == "<|endoftext|>"
    dataset = IndexedDataset(str(data.dir / "some"))
    assert len(dataset) == found.sources["some"].documents == len(texts)
    assert dataset.document_indices.tolist() == list(range(len(texts) + 1))
    assert dataset.index.dtype is np.uint16
    for i, text in enumerate(texts):
        assert list(dataset[i]) == [*tokenizer.encode(text).ids, found.end_of_document_id]
    assert found.sources["some"].tokens == dataset.sequence_lengths.sum()
    assert found.sources["some"].text_bytes == sum(len(text.encode()) for text in texts)
    assert sorted(path.name for path in data.dir.iterdir()) == ["manifest.json", *FILES]


@pytest.mark.timeout(300)
def test_same_bytes_from_any_number_of_workers(
    lines: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    found = []
    for workers in (1, 3):
        data = data_of(
            lines, folder=f"by {workers}", tokenizer=Tokenizer(kind="bpe", vocab_size=400), workers=workers
        )
        prepare(data, progress=False)
        found.append(contents(data.dir) | {"manifest": (data.dir / "manifest.json").read_bytes()})
    assert found[0] == found[1]


def test_prepared_once(lines: Path, data_of: Callable[..., Data]) -> None:
    data = data_of(lines)
    first = prepare(data, progress=False)
    times = {path: path.stat().st_mtime_ns for path in data.dir.iterdir()}
    # weights, split and workers only matter to training
    again = data.model_copy(update={"split": (0.5, 0.3, 0.2), "workers": 2})
    assert prepare(again, progress=False) == first
    assert {path: path.stat().st_mtime_ns for path in data.dir.iterdir()} == times
    lines.unlink()
    assert prepare(data, progress=False) == first  # the inputs have done their service


def test_what_is_prepared_is_not_overwritten(
    lines: Path, data_of: Callable[..., Data], tmp_path: Path
) -> None:
    data = data_of(lines)
    prepare(data, progress=False)
    before = contents(data.dir)
    other = tmp_path / "b.jsonl"
    shutil.copy(lines, other)
    for asked, path, value in (
        (data_of(lines, tokenizer=Tokenizer(kind="bpe", vocab_size=300)), "data.tokenizer.kind", "bpe"),
        (data_of(lines, text_key="body"), "data.sources.some.text_key", "body"),
        (data_of(other), "data.sources.some.inputs", [str(other)]),
        (data.model_copy(update={"sources": {"else": Source(inputs=["x"])}}), "data.sources", "else"),
    ):
        for call in (manifest.load, lambda asked: prepare(asked, progress=False)):
            with refused(path, data.dir, value=value, use="`slipway data`"):
                call(asked)
    with open(lines, "a") as file:
        file.write('{"text": "more"}\n')
    with refused("data.sources.some.inputs"):
        prepare(data, progress=False)
    assert contents(data.dir) == before
    (data.dir / "manifest.json").unlink()
    with refused("data.dir", "some.bin"):
        prepare(data, progress=False)


def test_inputs_are_the_same_whatever_their_spelling(
    lines: Path,
    data_of: Callable[..., Data],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(lines, folder)
    for name in ("a.png", "b.png"):
        (folder / name).write_text("x")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "link.jsonl").symlink_to(lines)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings: dict[str, list[Any]] = {
        "a.jsonl": [lines, "./a.jsonl", "in/../a.jsonl", "link.jsonl", "~/a.jsonl"],
        "in": [folder, "in/", "./in", "link", "in/."],
        "in/*.jsonl": [folder / "*.jsonl", "./in/*.jsonl", "link/*.jsonl"],
    }
    data = data_of(lines).model_copy(
        update={"sources": {f"s{i}": Source(inputs=[first]) for i, first in enumerate(spellings)}}
    )

    def asked(name: str, entry: Any) -> Data:
        return data.model_copy(update={"sources": {**data.sources, name: Source(inputs=[str(entry)])}})

    found = prepare(data, progress=False)
    assert capsys.readouterr().err.count("data.sources.s1: skipped: 2 of type .png") == 1
    assert [found.sources[name].left_out for name in ("s0", "s1", "s2")] == [0, 2, 0]
    assert "2 files left out" in summary(data, found)
    # of a version that did not note where they lay
    old = found.model_copy(
        update={"sources": {n: one.model_copy(update={"places": []}) for n, one in found.sources.items()}}
    )
    for record in (found, old):
        (data.dir / "manifest.json").write_text(manifest.to_text(record))
        for name, others in zip(data.sources, spellings.values(), strict=True):
            for other in others:
                assert prepare(asked(name, other), progress=False) == record, other
            with refused(f"data.sources.{name}.inputs", "b.jsonl"):
                manifest.load(asked(name, "b.jsonl"))
    shutil.rmtree(folder)
    lines.unlink()
    for name, others in zip(data.sources, spellings.values(), strict=True):
        assert manifest.load(asked(name, others[0])) == old  # also where they are not


@pytest.mark.parametrize("change", ["appended", "cut", "gone", "rewritten"])
def test_a_file_that_changes_while_it_is_read(
    lines: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    """The manifest must not say of what was not read that it was."""
    whole = lines.read_bytes()
    changes = {
        "appended": lambda: lines.write_bytes(whole + b'{"text": "more"}\n'),
        "cut": lambda: os.truncate(lines, 100),
        "gone": lines.unlink,
        "rewritten": lambda: os.utime(lines, ns=(1, 1)),
    }
    cut = preparation.cut_into_blocks

    def cut_and_change(*words: Any) -> Iterator[Any]:  # when all was found, and nothing is encoded
        for block in cut(*words):
            changes[change]()
            yield block

    monkeypatch.setattr(preparation, "cut_into_blocks", cut_and_change)
    before = {path for path in tmp_path.rglob("*") if path != lines}
    with refused(lines):
        prepare(data_of(lines), progress=False)
    assert {path for path in tmp_path.rglob("*") if path != lines} == before


@pytest.mark.parametrize(
    ("vocabulary", "fact"),
    [
        ({"x": 0}, "WordLevel"),
        ({"<unk>": 0, "return": 2}, 2),  # numbers with a gap: one is taken twice
    ],
)
def test_what_only_the_text_shows_of_a_tokenizer(
    lines: Path, data_of: Callable[..., Data], tmp_path: Path, vocabulary: dict[str, int], fact: object
) -> None:
    from tokenizers import AddedToken, models, pre_tokenizers
    from tokenizers import Tokenizer as Loaded

    tokenizer = Loaded(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_tokens([AddedToken("</s>")])
    tokenizer.save(str(tmp_path / "t.json"))
    before = sorted(tmp_path.rglob("*"))
    asked = Tokenizer(kind="file", path=tmp_path / "t.json", end_of_document="</s>")
    with refused(lines, fact):
        prepare(data_of(lines, tokenizer=asked), progress=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_load_refuses_what_is_not_whole(lines: Path, data_of: Callable[..., Data]) -> None:
    data = data_of(lines)
    with refused("data.dir", use="`slipway data`"):
        manifest.load(data)
    size = prepare(data, progress=False).sources["some"].bin.bytes
    os.truncate(data.dir / "some.bin", size - 2)
    with refused("data.dir", size - 2, size, value=data.dir / "some.bin"):
        manifest.load(data)
    (data.dir / "some.bin").unlink()
    with refused("data.dir", "some.bin"):
        manifest.load(data)
    (data.dir / "manifest.json").write_text("{")
    with refused("data.dir", "manifest.json"):
        manifest.load(data)


def test_nothing_is_left_of_a_mistake(lines: Path, data_of: Callable[..., Data], tmp_path: Path) -> None:
    with open(lines, "a") as file:
        file.write('{"body": "x"}\n')
    before = sorted(tmp_path.rglob("*"))
    with refused(f"{lines}, line 65", "text", "body"):
        prepare(data_of(lines, folder="new/er"), progress=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_no_documents(data_of: Callable[..., Data], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": ""}\n')
    with refused("data.sources.some"):
        prepare(data_of(path), progress=False)


@pytest.mark.timeout(300)
def test_killed_and_continued(tmp_path: Path, text_maker: Callable[[int, int], str]) -> None:
    lines = tmp_path / "a.jsonl"
    with open(lines, "w") as file:
        for i in range(800):
            file.write(json.dumps({"text": text_maker(i % 64, 100) * 16}) + "\n")  # some 10 blocks of 1 MiB
    words = ["data=files", f"data.sources.files.inputs=[{lines}]", "data.tokenizer.vocab_size=400"]
    whole = run_slipway("data", *words, f"data.dir={tmp_path}/whole", "data.workers=1")
    assert whole.wait(200) == 0
    killed = run_slipway("data", *words, f"data.dir={tmp_path}/killed", "data.workers=2")
    work = tmp_path / "killed/work"
    deadline = time.monotonic() + 120
    while len(list(work.glob("files/*.shard"))) < 3:
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    children = [
        int(pid) for pid in Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    ]
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    assert children
    until = time.monotonic() + 20
    while any(is_running(pid) for pid in children):  # no worker outlives it
        assert time.monotonic() < until
        time.sleep(0.05)
    done = {path: path.stat().st_mtime_ns for path in work.glob("files/*.shard")}
    assert done and not (tmp_path / "killed/manifest.json").exists()
    assert len(done) < 8, "killed too late to show anything"
    stops = run_slipway("data", *words, f"data.dir={tmp_path}/killed", "data.workers=3")
    seen = dict.fromkeys(done, 0)
    while stops.poll() is None:
        for path in done:
            with contextlib.suppress(FileNotFoundError):  # removed once all is written
                seen[path] = path.stat().st_mtime_ns
        time.sleep(0.01)
    assert stops.returncode == 0, stops.stderr and stops.stderr.read()
    assert seen == done, "finished blocks were encoded again"
    for name in ("files.bin", "files.idx", "tokenizer.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not work.exists()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_process_at_a_time(lines: Path, data_of: Callable[..., Data]) -> None:
    import fcntl

    data = data_of(lines)
    (data.dir / "work").mkdir(parents=True)
    with open(data.dir / "work/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with refused("data.dir"):
            prepare(data, progress=False)
    prepare(data, progress=False)


def test_torch_stays_out(lines: Path, tmp_path: Path) -> None:
    """The process that prepares, and later trains or ends, imports nothing heavy itself."""
    code = (
        "import sys; from slipway.cli import main; "
        f"main(['data', 'data=bytes', 'data.sources.stdlib.inputs=[{lines}]', 'data.dir=d']);"
        "sys.exit(bool({'torch', 'pyarrow', 'megatron'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, timeout=100, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_says_that_a_tokenizer_is_not_encoded_fast(
    lines: Path, data_of: Callable[..., Data], bpe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenizers import Tokenizer as Loaded
    from tokenizers import normalizers

    path = tmp_path / "t.json"
    for number, normalizer in enumerate((normalizers.NFC(), normalizers.NFKC())):
        tokenizer = Loaded.from_str(bpe.to_str())
        tokenizer.normalizer = normalizer
        tokenizer.save(str(path))
        asked = Tokenizer(kind="file", path=path, end_of_document="<|end|>")
        prepare(data_of(lines, tokenizer=asked, folder=f"prepared{number}"), progress=False)
        told = [line for line in capsys.readouterr().err.splitlines() if "data.tokenizer" in line]
        assert [("NFKC" in line and "docs/data.md" in line) for line in told] == [True] * number
