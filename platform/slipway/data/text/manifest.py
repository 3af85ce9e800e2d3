"""manifest.json: what was prepared, and from what, with checksums. It is written last, so it vouches for the rest."""

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from slipway.data import prepared
from slipway.data.files import FileRecord, checksum
from slipway.data.prepared import Record
from slipway.data.text.config import Config as Data
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.inputs import places
from slipway.errors import UserError
from slipway.records import first_problem

TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_FACT = "the checksum of tokenizer.json"
"""The name of this fact in a checkpoint's ledger (DataKind.facts)."""


class SourceRecord(Record):
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
    without_text: int  # documents skipped: empty or null
    tokens: int  # the end marks included
    bin: FileRecord
    idx: FileRecord


class TokenizerRecord(Record):
    """The tokenizer that was asked for, and tokenizer.json."""

    kind: Literal["bpe", "byte", "file"]
    vocab_size: int | None  # as asked (bpe)
    end_of_document: str
    end_of_document_id: int
    entries: int
    file: FileRecord


class Manifest(Record):
    """The content of data.dir."""

    format: Literal[1] = 1
    tokenizer: TokenizerRecord
    token_type: Literal["uint16", "int32"]
    sources: dict[str, SourceRecord]
    versions: dict[str, str]

    @property
    def vocab_size(self) -> int:
        """The entries of the tokenizer: tokens are below this."""
        return self.tokenizer.entries

    @property
    def end_of_document_id(self) -> int:
        """The token after each document."""
        return self.tokenizer.end_of_document_id


def load(data: Data) -> Manifest:
    """Return the manifest of data.dir.

    Raises UserError if no data is prepared there, if it was prepared with other settings than `data` has, or if a file
    is missing or has another size than the manifest says.
    """
    found = prepared.found(data.dir, Manifest)
    _check_asked(found, data)
    prepared.check_sizes(_files(found, data.dir), data.dir)
    return found


def read(folder: Path) -> Manifest | None:
    """Return the manifest in a folder; None if there is none. Raises UserError if it is not valid."""
    return prepared.read(folder, Manifest)


def tokenizer_record(folder: Path) -> TokenizerRecord | None:
    """Return the tokenizer's record in the manifest of a folder, for any kind of text.

    None if there is no manifest. Raises UserError if it cannot be read.
    """
    path = folder / prepared.FILE_NAME
    try:
        plain = json.loads(path.read_text())
        return TokenizerRecord.model_validate(plain.get("tokenizer"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise UserError(
            "data.dir",
            f"does not describe a tokenizer: {first_problem(error)}",
            value=path,
            do="remove its folder and run `slipway data` again",
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            "data.dir",
            f"cannot be read: {error}",
            value=path,
            do="make it readable, or choose another data.dir",
        ) from error


def prefix(data: Data, source: str) -> str:
    """Return the path of a source's files without .bin and .idx."""
    return str(data.dir / source)


def to_text(manifest: Manifest) -> str:
    """Return the manifest as it is written: indented JSON."""
    return json.dumps(manifest.model_dump(), indent=1) + "\n"


def asked_tokenizer(tokenizer: Tokenizer) -> dict[str, object]:
    """Return the settings of data.tokenizer that decide which tokens come out."""
    return {
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size if tokenizer.kind == "bpe" else None,
        "end_of_document": tokenizer.end_of_document,
    }


def _check_asked(found: Manifest, data: Data) -> None:
    remedy = f"ask for the same, choose another data.dir, or remove {data.dir} and run `slipway data`"
    for name, asked in asked_tokenizer(data.tokenizer).items():
        then = getattr(found.tokenizer, name)
        if then != asked:
            raise prepared.differs(f"data.tokenizer.{name}", asked, then, data.dir)
    path = data.tokenizer.path
    if (
        data.tokenizer.kind == "file"
        and path
        and path.is_file()
        and checksum(path) != found.tokenizer.file.sha256
    ):
        raise UserError(
            "data.tokenizer.path",
            f"is not the tokenizer with which {data.dir} was prepared",
            value=path,
            do=remedy,
        )
    prepared.check_sources(data.sources, found.sources, data.dir)
    for name, source in data.sources.items():
        record = found.sources[name]
        fields = ("text_key",) if _same_inputs(source, record) else ("inputs", "text_key")
        prepared.check_fields(name, source, record, fields, data.dir)


def _same_inputs(source: Source, record: SourceRecord) -> bool:
    """Return whether the inputs are those of the record, whatever their spelling. They need not exist."""
    return source.inputs == record.inputs or places(source.inputs) == (record.places or places(record.inputs))


def _files(found: Manifest, folder: Path) -> dict[Path, FileRecord]:
    files = {TOKENIZER_NAME: found.tokenizer.file}
    for name, source in found.sources.items():
        files |= {f"{name}.bin": source.bin, f"{name}.idx": source.idx}
    return {folder / name: record for name, record in files.items()}
