import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from refusals import refused
from slipway.data.text import blocks, streams
from slipway.data.text.blocks import cut_into_blocks
from slipway.data.text.config import Source
from slipway.data.text.documents import read_documents
from slipway.data.text.inputs import find_inputs


def documents(*inputs: Path, size: int = 1 << 20, text_key: str = "text") -> list[bytes]:
    files = find_inputs("some", Source(inputs=[str(path) for path in inputs]))
    found = [list(block.parts) for block in cut_into_blocks(files, text_key, size)]
    return [document for parts in found for part in parts for document in read_documents(part, text_key)]


def compressed(path: Path) -> list[Path]:
    """The file, as gz and as zst of two frames."""
    data = path.read_bytes()
    gz, zst = path.with_name(path.name + ".gz"), path.with_name(path.name + ".zst")
    gz.write_bytes(gzip.compress(data))
    half = len(data) // 2
    frames = [zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:])]
    zst.write_bytes(b"".join(frames))
    return [gz, zst]


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_all_types_give_the_same_documents(tmp_path: Path, texts: list[str], size: int) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(json.dumps({"id": i, "text": text}) for i, text in enumerate(texts)))
    table = pyarrow.table({"id": list(range(len(texts))), "text": texts})
    for name, options in {
        "b": {"row_group_size": 7},
        "c": {"compression": "zstd", "use_dictionary": False},
    }.items():
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet", **options)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, text in enumerate(texts):
        (folder / f"{i:03d}.txt").write_bytes(text.encode())
    expected = [text.encode() for text in texts]
    for path in (lines, *compressed(lines), tmp_path / "b.parquet", tmp_path / "c.parquet", folder):
        assert documents(path, size=size) == expected, path


def test_large_text_is_cut_at_lines_whatever_the_compression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "TEXT_DOCUMENT", 1000)
    monkeypatch.setattr(blocks, "SEARCHED", 300)
    monkeypatch.setattr(streams, "_READ_BYTES", 100)
    path = tmp_path / "a.txt"
    path.write_text("".join(f"line {i} größer\n" + "\n" * (i % 7 == 0) for i in range(2000)))
    found = documents(path)
    assert b"".join(found) == path.read_bytes()
    assert all(document.endswith(b"\n\n") for document in found[:-1])
    assert max(map(len, found)) <= 1300
    for other in compressed(path):
        assert documents(other) == found
        assert documents(other, size=10) == found


def test_text_without_lines_is_cut_between_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "TEXT_DOCUMENT", 1000)
    path = tmp_path / "a.txt"
    path.write_text("東京🚀" * 5000)
    monkeypatch.setattr(blocks, "SEARCHED", 100)
    found = documents(path)
    assert b"".join(found) == path.read_bytes()
    assert max(map(len, found)) <= 1003
    assert [document.decode() for document in found]


def test_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl"):
        text = json.dumps({"text": "x"}) if name.endswith("l") else "x"
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert documents(tmp_path / name) == [b"x"]


def test_without_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n\n{"text": null}\n  \n{"text": "x"}\n')
    assert documents(tmp_path / "a.jsonl") == [b"", b"", b"x"]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["", None, "x"]}), tmp_path / "a.parquet")
    assert documents(tmp_path / "a.parquet") == [b"", b"", b"x"]


GOOD = b'{"text": "good"}\n'


@pytest.mark.parametrize(
    ("bad", "facts"),
    [
        (b'{"text": "x"\n', ["JSON"]),
        (b"[1]\n", ["list"]),
        (b'{"body": "x", "id": 1}\n', ["text", "body", "id"]),
        (b'{"text": 1}\n', ["text", "int"]),
        (b'{"text": "\\ud800"}\n', ["ud800"]),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_bad_line_is_named(tmp_path: Path, bad: bytes, facts: list[str], compress: bool) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD * 40 + bad + GOOD)
    if compress:
        path = compressed(path)[0]
    with refused(f"{path}, line 41", *facts):
        documents(path, size=100)


@pytest.mark.parametrize(("name", "before"), [("a.txt", b"good\n"), ("a.jsonl", GOOD)])
def test_invalid_utf8_is_named_by_byte(tmp_path: Path, name: str, before: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(before * 50 + b"\xff\n")
    with refused(path, 50 * len(before)):
        documents(path, size=100)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "no archive", "changed"])
def test_corrupt_archives(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    text = b"".join(b"%d %d\n" % (i, i * i) for i in range(9999))
    whole = (
        gzip.compress(text)
        if suffix == ".gz"
        else zstandard.ZstdCompressor(write_checksum=True).compress(text)
    )
    middle = len(whole) // 2
    changed = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:-5], "no archive": b"plain text", "changed": changed}[damage])
    with refused(path, {".gz": "gzip", ".zst": "zstd"}[suffix]):
        documents(path)


def test_bad_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"], "n": [1]}), path)
    with refused(path, "text", "body", "n"):
        documents(path)
    with refused(path, "n", "int64"):
        documents(path, text_key="n")
    path.write_bytes(b"PAR1 and no more")
    with refused(path, "Parquet"):
        documents(path)


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int32(), "str"),
    ],
)
def test_parquet_of_any_type_of_text(tmp_path: Path, kind: pyarrow.DataType) -> None:
    # a column within another is no column of that name
    inner = pyarrow.array([{"text": "no"}] * 3)
    text = pyarrow.array(["one", None, "two"]).cast(kind)
    pyarrow.parquet.write_table(pyarrow.table({"inner": inner, "text": text}), tmp_path / "a.parquet")
    assert documents(tmp_path / "a.parquet") == [b"one", b"", b"two"]


def test_parquet_with_a_name_twice(tmp_path: Path) -> None:
    table = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with refused(tmp_path / "a.parquet", 2, "text"):
        documents(tmp_path / "a.parquet")


@pytest.mark.parametrize("log2", [27, 28, 31])
def test_zstd_of_a_long_window(tmp_path: Path, log2: int) -> None:
    """A frame by hand (RFC 8878): a window, no size, one block as it is. Above 27, decoders refuse unless asked."""
    text = b'{"text": "x"}\n'
    block = (len(text) << 3 | 1).to_bytes(3, "little") + text
    (tmp_path / "a.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd\x00" + bytes([log2 - 10 << 3]) + block)
    assert documents(tmp_path / "a.jsonl.zst") == [b"x"]


def test_line_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LONGEST_LINE", 1 << 16)
    monkeypatch.setattr(blocks, "SEARCHED", 1 << 10)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "x" * (1 << 18)}))
    with refused(path):
        documents(path, size=1000)
