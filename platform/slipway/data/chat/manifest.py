"""manifest.json: which conversations were prepared, and from what, with checksums. It vouches for the other files."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from slipway.data import prepared
from slipway.data.chat.config import Config as Data
from slipway.data.chat.tokenizer import NAMES, SETTINGS, TEMPLATE, TOKENIZER
from slipway.data.files import FileRecord, checksum
from slipway.data.kind import Split
from slipway.data.prepared import Record
from slipway.data.text.inputs import places
from slipway.data.text.manifest import TokenizerRecord

ENDS = (".bin", ".idx", ".loss")
"""The endings of a source's files: tokens, the index of conversations and samples, and the loss mask."""


class LeftOutRecord(Record):
    """Conversations that are not trained on, all for the same reason."""

    count: int
    first: str


class SplitRecord(Record):
    """A split of one source."""

    conversations: int
    samples: int
    tokens: int


class SourceRecord(Record):
    """One source: SOURCE.bin, SOURCE.idx and SOURCE.loss."""

    inputs: list[str]
    places: list[str]  # of the inputs: absolute, links resolved
    messages_key: str
    files: int
    left_out: int  # files of folders that are no JSON lines, empty, or read under another name
    input_bytes: int  # of the files, as they lie on disk
    input_sha256: str  # of the files' names, sizes and times
    conversations: int
    left_out_conversations: Mapping[str, LeftOutRecord]  # by reason
    cut: int  # conversations of which only the beginning is kept
    longest: int  # tokens of a conversation, before any was cut
    tokens: int
    loss_tokens: int
    splits: dict[Split, SplitRecord]
    bin: FileRecord
    idx: FileRecord
    loss: FileRecord

    @property
    def samples(self) -> int:
        """The samples of all splits."""
        return sum(split.samples for split in self.splits.values())


class TemplateRecord(Record):
    """The chat template, and the files that a run keeps beside tokenizer.json."""

    date: datetime.date | None
    ends: dict[str, int]  # how many turns of the assistant each special token ends
    file: FileRecord  # chat_template.jinja
    settings: FileRecord  # tokenizer_config.json
    names: FileRecord  # special_tokens_map.json


class Manifest(Record):
    """The content of data.dir."""

    format: Literal[1] = 1
    kind: Literal["chat"] = "chat"
    sequence_length: int
    split: tuple[float, float, float]
    long: str
    malformed: str
    tokenizer: TokenizerRecord
    """Its end of a document is the mark that ends the assistant's turns, at which a model stops."""
    template: TemplateRecord
    token_type: Literal["uint16", "int32"]
    sources: dict[str, SourceRecord]
    versions: dict[str, str]


def load(data: Data) -> Manifest:
    """Return the manifest of data.dir.

    Raises UserError if no data is prepared there, if it was prepared with other settings than `data` has, or if a file
    is missing or has another size than the manifest says.
    """
    found = prepared.found(data.dir, Manifest)
    _check_asked(found, data)
    prepared.check_sizes(
        {data.dir / name: record for name, record in files(found).items()},
        data.dir,
    )
    return found


def read(folder: Path) -> Manifest | None:
    """Return the manifest in a folder; None if there is none. Raises UserError if it is not valid."""
    return prepared.read(folder, Manifest)


def to_text(manifest: Manifest) -> str:
    """Return the manifest as it is written: indented JSON."""
    return json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n"


def files(found: Manifest) -> dict[str, FileRecord]:
    """Return the records of the files beside the manifest, by name."""
    named = {
        TOKENIZER: found.tokenizer.file,
        SETTINGS: found.template.settings,
        NAMES: found.template.names,
        TEMPLATE: found.template.file,
    }
    for name, source in found.sources.items():
        named |= {f"{name}{end}": getattr(source, end[1:]) for end in ENDS}
    return named


def _check_asked(found: Manifest, data: Data) -> None:
    for name in ("sequence_length", "split", "long", "malformed"):
        asked, then = getattr(data, name), getattr(found, name)
        if asked != then:
            shown = (list(asked), list(then)) if isinstance(asked, tuple) else (asked, then)
            raise prepared.differs(f"data.{name}", *shown, data.dir)
    if data.tokenizer.date != found.template.date:
        raise prepared.differs("data.tokenizer.date", data.tokenizer.date, found.template.date, data.dir)
    path = data.tokenizer.path
    folder = path if path.is_dir() else path.parent
    for field, file, record in (
        ("path", path / TOKENIZER if path.is_dir() else path, found.tokenizer.file),
        ("template", data.tokenizer.template or folder / TEMPLATE, found.template.file),
    ):
        if file.is_file() and checksum(file) != record.sha256:
            raise prepared.differs(f"data.tokenizer.{field}", file, "the file", data.dir)
    prepared.check_sources(data.sources, found.sources, data.dir)
    for name, source in data.sources.items():
        record = found.sources[name]
        same = source.inputs == record.inputs or places(source.inputs) == record.places
        fields = ("messages_key",) if same else ("inputs", "messages_key")
        prepared.check_fields(name, source, record, fields, data.dir)
