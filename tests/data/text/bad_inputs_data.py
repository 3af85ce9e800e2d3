"""What users get wrong with `slipway data`: rows of the table in tests/bad_inputs.py, with their files."""

import gzip
import json
import os
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bad_inputs import BadInput

_LINES = "".join(json.dumps({"text": f"some words {i} " * 20}) + "\n" for i in range(60))


def _file(name: str, content: str | bytes) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def _all(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        for step in steps:
            step(folder)

    return prepare


def _zst(name: str, share: float) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        import zstandard

        packed = zstandard.compress(_LINES.encode())
        _file(name, packed[: int(share * len(packed))])(folder)

    return prepare


def _parquet(name: str, **columns: list) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(columns), folder / name)

    return prepare


def _tokenizer(name: str, end: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        from slipway.data.text.tokenizer import byte_tokenizer

        _file(name, byte_tokenizer(end).to_str())(folder)

    return prepare


@cache
def _prepared_files() -> dict[str, bytes]:
    """What preparing a.jsonl in d leaves; once, since it imports torch."""
    from slipway.data.text.config import Config as Data
    from slipway.data.text.config import Source, Tokenizer
    from slipway.data.text.preparation import prepare

    with TemporaryDirectory() as folder, chdir(folder):  # so that the paths are those of the command
        _write_good(Path())
        sources = {"files": Source(inputs=["a.jsonl"])}
        data = Data(
            name="files",
            dir=Path("d"),
            sequence_length=16,
            tokenizer=Tokenizer(kind="byte"),
            sources=sources,
            workers=1,
        )
        prepare(data, progress=False)
        return {str(path): path.read_bytes() for path in data.dir.iterdir()}


def _write_good(folder: Path) -> None:
    _file("a.jsonl", _LINES)(folder)
    os.utime(folder / "a.jsonl", (1e9, 1e9))


def _prepared(folder: Path) -> None:
    for name, content in _prepared_files().items():
        _file(name, content)(folder)
    _write_good(folder)


def _truncated(folder: Path) -> None:
    _prepared(folder)
    path = folder / "d/files.bin"
    path.write_bytes(path.read_bytes()[:100])


def _not_a_manifest(folder: Path) -> None:
    _prepared(folder)
    (folder / "d/manifest.json").write_text("{}")


def _reads(name: str, *more: str, tokenizer: str = "byte") -> str:
    """The command that prepares a file of the folder."""
    words = (
        "data=files",
        f"data.sources.files.inputs=[{name}]",
        f"data.tokenizer.kind={tokenizer}",
        "data.dir=d",
    )
    return " ".join(("data", *words, "data.workers=1", *more))


_GOOD = _file("a.jsonl", _LINES)

INPUTS = [
    BadInput("input missing", _reads("a.txt"), "data.sources.files.inputs[0]", ("a.txt",)),
    BadInput(
        "folder empty",
        _reads("e"),
        "data.sources.files.inputs[0]",
        ("e",),
        lambda f: (f / "e").mkdir(),
    ),
    BadInput(
        "folder of nothing readable",
        _reads("p"),
        "data.sources.files.inputs[0]",
        ("p", "1", "png", "jsonl", "parquet"),
        _file("p/x.png", "x"),
    ),
    BadInput("only empty files", _reads("a.txt"), "data.sources.files.inputs", ("1",), _file("a.txt", "")),
    BadInput(
        "only documents without text",
        _reads("a.jsonl"),
        "data.sources.files",
        ("2",),
        _file("a.jsonl", '{"text":null}\n{"text":""}\n'),
    ),
    BadInput(
        "line that is not JSON",
        _reads("a.jsonl"),
        "FOLDER/a.jsonl, line 61",
        ("JSON", "10"),
        _file("a.jsonl", _LINES + '{"text": "x\n'),
    ),
    BadInput(
        "JSON on several lines",
        _reads("a.json"),
        "FOLDER/a.json, line 1",
        (),
        _file("a.json", '[\n{"text": "a"}\n]'),
    ),
    BadInput(
        "line that is no object",
        _reads("a.jsonl"),
        "FOLDER/a.jsonl, line 61",
        ("list",),
        _file("a.jsonl", _LINES + "[1]\n"),
    ),
    BadInput(
        "text key missing",
        _reads("a.jsonl"),
        "FOLDER/a.jsonl, line 1",
        ("text_key", "text", "content", "id"),
        _file("a.jsonl", '{"content": "a", "id": 1}\n'),
    ),
    BadInput(
        "text that is a number",
        _reads("a.jsonl"),
        "FOLDER/a.jsonl, line 1",
        ("text",),
        _file("a.jsonl", '{"text": 5}\n'),
    ),
    BadInput(
        "half a surrogate pair",
        _reads("a.jsonl"),
        "FOLDER/a.jsonl, line 1",
        ("ud800",),
        _file("a.jsonl", '{"text": "a\\ud800"}\n'),
    ),
    BadInput(
        "text in Latin-1",
        _reads("a.txt"),
        "FOLDER/a.txt",
        ("UTF-8", "3"),
        _file("a.txt", b"caf\xe9 noir"),
    ),
    BadInput(
        "JSON lines in Latin-1",
        _reads("a.jsonl"),
        "FOLDER/a.jsonl",
        ("UTF-8", "27"),
        _file("a.jsonl", b'{"text": "x"}\n{"text": "caf\xe9"}\n'),
    ),
    BadInput(
        "not gzip",
        _reads("a.jsonl.gz"),
        "FOLDER/a.jsonl.gz",
        ("gzip",),
        _file("a.jsonl.gz", _LINES),
    ),
    BadInput(
        "gzip cut short",
        _reads("a.jsonl.gz"),
        "FOLDER/a.jsonl.gz",
        ("gzip",),
        _file("a.jsonl.gz", gzip.compress(_LINES.encode())[:-20]),
    ),
    BadInput(
        "not zstd",
        _reads("a.jsonl.zst"),
        "FOLDER/a.jsonl.zst",
        ("zstd",),
        _file("a.jsonl.zst", _LINES),
    ),
    BadInput(
        "zstd cut short",
        _reads("a.jsonl.zst"),
        "FOLDER/a.jsonl.zst",
        ("zstd",),
        _zst("a.jsonl.zst", 0.7),
    ),
    BadInput(
        "not Parquet",
        _reads("a.parquet"),
        "FOLDER/a.parquet",
        ("Parquet",),
        _file("a.parquet", _LINES),
    ),
    BadInput(
        "column missing",
        _reads("a.parquet"),
        "FOLDER/a.parquet",
        ("text",),
        _parquet("a.parquet", content=["a"], id=[1]),
    ),
    BadInput(
        "column of numbers",
        _reads("a.parquet"),
        "FOLDER/a.parquet",
        ("text", "int64"),
        _parquet("a.parquet", text=[1]),
    ),
]

TOKENIZERS = [
    BadInput(
        "vocabulary below the bytes",
        _reads("a.jsonl", "data.tokenizer.vocab_size=256", tokenizer="bpe"),
        "data.tokenizer.vocab_size",
        ("256", "1", "257"),
        _GOOD,
    ),
    BadInput(
        "vocabulary beyond the text",
        _reads("a.jsonl", tokenizer="bpe"),
        "data.tokenizer.vocab_size",
        ("8192", "257"),
        _GOOD,
    ),
    BadInput(
        "tokenizer file missing",
        _reads("a.jsonl", "data.tokenizer.path=t.json", tokenizer="file"),
        "data.tokenizer.path",
        ("t.json",),
        _GOOD,
    ),
    BadInput(
        "not a tokenizer",
        _reads("a.jsonl", "data.tokenizer.path=t.json", tokenizer="file"),
        "data.tokenizer.path",
        ("t.json", "tokenizer.json"),
        _all(_GOOD, _file("t.json", '{"a": 1}')),
    ),
    BadInput(
        "end mark not in the tokenizer",
        _reads("a.jsonl", "data.tokenizer.path=t.json", tokenizer="file"),
        "data.tokenizer.end_of_document",
        ("<|endoftext|>", "[EOS]"),
        _all(_GOOD, _tokenizer("t.json", "[EOS]")),
    ),
    BadInput(
        "end mark that is a word",
        _reads("a.jsonl", "data.tokenizer.end_of_document=the"),
        "data.tokenizer.end_of_document",
        ("<|endoftext|>",),
        _GOOD,
    ),
]

FOLDER = [
    BadInput(
        "data.dir is a file",
        _reads("a.jsonl", "data.dir=a.jsonl"),
        "data.dir",
        ("a.jsonl",),
        _GOOD,
    ),
    BadInput(
        "data.dir in a file",
        _reads("a.jsonl", "data.dir=a.jsonl/d"),
        "data.dir",
        ("a.jsonl",),
        _GOOD,
    ),
    BadInput(
        "data.dir among the inputs",
        _reads("in", "data.dir=in/d"),
        "data.dir",
        ("in/d", "data.sources.files.inputs[0]"),
        _file("in/a.jsonl", _LINES),
    ),
    BadInput(
        "other tokenizer than prepared",
        _reads("a.jsonl", tokenizer="bpe"),
        "data.tokenizer.kind",
        ("bpe", "byte"),
        _prepared,
    ),
    BadInput(
        "other text key than prepared",
        _reads("a.jsonl", "data.sources.files.text_key=body"),
        "data.sources.files.text_key",
        ("body", "text"),
        _prepared,
    ),
    BadInput(
        "inputs changed since",
        _reads("a.jsonl"),
        "data.sources.files.inputs",
        (),
        _all(_prepared, _file("a.jsonl", _LINES + _LINES)),
    ),
    BadInput(
        "prepared file cut short",
        _reads("a.jsonl"),
        "data.dir",
        ("d/files.bin", "100"),
        _truncated,
    ),
    BadInput(
        "manifest of something else",
        _reads("a.jsonl"),
        "data.dir",
        ("d/manifest.json",),
        _not_a_manifest,
    ),
]

ROWS = [*INPUTS, *TOKENIZERS, *FOLDER]
