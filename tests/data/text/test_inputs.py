import os
import sys
from pathlib import Path

import pytest

from refusals import refused
from slipway.data.inputs import fingerprint
from slipway.data.text import inputs
from slipway.data.text.config import Source
from slipway.data.text.inputs import find_inputs


def found(*entries: object) -> list[inputs.InputFile]:
    return find_inputs("some", Source(inputs=[str(entry) for entry in entries]))


def test_folder_in_order_without_hidden_files(tmp_path: Path) -> None:
    names = [
        "b.txt",
        "a/z.jsonl.zst",
        "a/B.MD",
        "c.parquet",
        ".hidden.txt",
        ".git/x.txt",
        "__pycache__/x.py",
        "pic.png",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    files = found(tmp_path)
    assert [(file.name, file.kind, file.compression) for file in files] == [
        ("a/B.MD", "text", ""),
        ("a/z.jsonl.zst", "jsonl", "zst"),
        ("b.txt", "text", ""),
        ("c.parquet", "parquet", ""),
    ]


def test_a_named_file_of_any_type_is_text(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("x")
    (tmp_path / "corpus.data.gz").write_text("x")
    assert [
        (file.kind, file.compression) for file in found(tmp_path / "corpus", tmp_path / "corpus.data.gz")
    ] == [
        ("text", ""),
        ("text", "gz"),
    ]


def test_standard_library() -> None:
    files = found("stdlib")
    names = [file.name for file in files]
    assert {"os.py", "asyncio/events.py"} <= set(names)
    assert all(name.endswith(".py") for name in names)
    assert not [
        name for name in names if {"test", "tests", "site-packages", "__pycache__"} & set(name.split("/"))
    ]
    assert 5e6 < sum(file.size for file in files) < 3e7
    # neighbours in the alphabet lie apart, so that every split is a fair sample
    assert names != sorted(names)
    assert sys.modules["os"].__file__ in {file.path for file in files}


def test_fingerprint_sees_names_sizes_and_times(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    os.utime(path, ns=(10**18, 10**18))
    before = fingerprint(found(path))
    assert fingerprint(found(path)) == before
    path.write_text("two")
    os.utime(path, ns=(10**18 + 10**9, 10**18 + 10**9))
    assert fingerprint(found(path)) != before
    path.write_text("three")
    os.utime(path, ns=(10**18, 10**18))
    assert fingerprint(found(path)) != before
    os.rename(path, tmp_path / "b.txt")
    assert fingerprint(found(tmp_path / "b.txt")) != before


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with refused("data.sources.some.inputs[0]"):
        found(tmp_path / "nowhere")
    with refused("data.sources.some.inputs[0]"):
        found(tmp_path)
    (tmp_path / "a.png").write_text("x")
    with refused("data.sources.some.inputs[0]", "png"):
        found(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with refused("data.sources.some.inputs"):
        found(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with refused("data.sources.some.inputs[0]"):
        found(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("name", "package"), [("rows.parquet", "pyarrow"), ("a.jsonl.zst", "zstandard"), ("b.txt.gz", None)]
)
def test_what_reads_a_format_may_not_be_installed(
    name: str, package: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(
        inputs, "find_spec", lambda name: None
    )  # of Slipway's extra `formats` nothing is here
    if package is None:
        assert found(tmp_path)
        return
    with refused("data.sources.some.inputs[0]", package, value=tmp_path / name):
        found(tmp_path)
