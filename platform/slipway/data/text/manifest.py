"""manifest.json: what was prepared, from what, with checksums. Written last, so it vouches for the rest."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.data.text.config import Config as Data
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.inputs import places
from slipway.errors import UserError
from slipway.records import first_problem

FILE_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """A file of data.dir."""

    bytes: int
    sha256: str


class SourceRecord(_Record):
    """One source: SOURCE.bin and SOURCE.idx."""

    inputs: list[str]
    places: list[str] = []  # of the inputs: absolute, links resolved; empty before there were any
    text_key: str
    files: int
    left_out: int = 0  # files of folders that are of no readable type, empty, or read under another name
    input_bytes: int  # of the files, as they lie on disk
    input_sha256: str  # of the files' names, sizes and times
    text_bytes: int  # UTF-8 bytes of the documents
    documents: int
    without_text: int  # documents left out: empty or null
    tokens: int  # the end marks included
    bin: FileRecord
    idx: FileRecord


class TokenizerRecord(_Record):
    """What was asked for, and tokenizer.json."""

    kind: Literal["bpe", "byte", "file"]
    vocab_size: int | None  # as asked (bpe)
    end_of_document: str
    end_of_document_id: int
    entries: int
    file: FileRecord


class Manifest(_Record):
    """What data.dir holds."""

    format: Literal[1] = 1
    tokenizer: TokenizerRecord
    token_type: Literal["uint16", "int32"]
    sources: dict[str, SourceRecord]
    versions: dict[str, str]

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer: tokens are below this."""
        return self.tokenizer.entries

    @property
    def end_of_document_id(self) -> int:
        """The token after each document."""
        return self.tokenizer.end_of_document_id


def load(data: Data) -> Manifest:
    """The manifest of data.dir.

    Raises UserError when nothing is prepared there, when something else is prepared there than `data` asks
    for, or when a file is missing or has another size than the manifest says.
    """
    found = read(data.dir)
    if found is None:
        raise UserError(
            "data.dir",
            "holds no prepared data",
            value=data.dir,
            do="run `slipway data` first, with the same data.* overrides",
        )
    _check_asked(found, data)
    _check_sizes(found, data.dir)
    return found


def read(folder: Path) -> Manifest | None:
    """The manifest in a folder, None where there is none."""
    path = folder / FILE_NAME
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("data.dir", f"cannot be read: {error}", value=path) from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            "data.dir", f"is not a manifest of this version: {first_problem(error)}", value=path
        ) from error


def prefix(data: Data, source: str) -> str:
    """Path of a source's files without .bin and .idx."""
    return str(data.dir / source)


def to_text(manifest: Manifest) -> str:
    """As it is written: JSON for people."""
    return json.dumps(manifest.model_dump(), indent=1) + "\n"


def asked_tokenizer(tokenizer: Tokenizer) -> dict[str, object]:
    """What of data.tokenizer decides which tokens come out."""
    return {
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size if tokenizer.kind == "bpe" else None,
        "end_of_document": tokenizer.end_of_document,
    }


def _check_asked(found: Manifest, data: Data) -> None:
    remedy = f"ask for the same, choose another data.dir, or remove {data.dir} and run `slipway data`"
    for name, asked in asked_tokenizer(data.tokenizer).items():
        prepared = getattr(found.tokenizer, name)
        if prepared != asked:
            raise UserError(
                f"data.tokenizer.{name}",
                f"differs from {prepared}, with which {data.dir} was prepared",
                value=asked,
                do=remedy,
            )
    path = data.tokenizer.path
    if (
        data.tokenizer.kind == "file"
        and path
        and path.is_file()
        and _sha256(path) != found.tokenizer.file.sha256
    ):
        raise UserError(
            "data.tokenizer.path",
            f"is not the tokenizer with which {data.dir} was prepared",
            value=path,
            do=remedy,
        )
    if set(data.sources) != set(found.sources):
        raise UserError(
            "data.sources",
            f"differs from the prepared sources in {data.dir}: {', '.join(found.sources)}",
            value=", ".join(data.sources),
            do=remedy,
        )
    for name, source in data.sources.items():
        record = found.sources[name]
        fields = ("text_key",) if _same_inputs(source, record) else ("inputs", "text_key")
        for field in fields:
            asked, prepared = getattr(source, field), getattr(record, field)
            if asked != prepared:
                raise UserError(
                    f"data.sources.{name}.{field}",
                    f"differs from {prepared}, from which {data.dir} was prepared",
                    value=asked,
                    do=remedy,
                )


def _same_inputs(source: Source, record: SourceRecord) -> bool:
    """Whether the inputs are those of the record, whatever their spelling. They need not be there."""
    return source.inputs == record.inputs or places(source.inputs) == (record.places or places(record.inputs))


def _check_sizes(found: Manifest, folder: Path) -> None:
    files = {TOKENIZER_NAME: found.tokenizer.file}
    for name, source in found.sources.items():
        files |= {f"{name}.bin": source.bin, f"{name}.idx": source.idx}
    for name, record in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(
                "data.dir", "is missing", value=path, do=f"remove {folder} and run `slipway data`"
            )
        size = path.stat().st_size
        if size != record.bytes:
            raise UserError(
                "data.dir",
                f"has {size} bytes, but {record.bytes} in its manifest",
                value=path,
                do=f"remove {folder} and run `slipway data`",
            )


def _sha256(path: Path) -> str:
    from hashlib import file_digest

    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()
