"""What wandb left in a run's directory: a folder for each segment. Imports neither torch nor wandb.

A folder holds run-ID.wandb: a LevelDB log (blocks of 32 KiB; chunks of checksum, length, type, data) of Protocol
Buffers records. Here they are read only as far as a run's identity and its steps need, by field numbers of
wandb_internal.proto: Record: history 2, run 17, exit 18; HistoryRecord: item 1; HistoryItem: key 1, nested_key 2,
value_json 16; RunRecord: run_id 1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway.run_dir import RunDir

MARK = ".synced"
BLOCK = 32768
HEADER = 7  # bytes: of the file, and of every chunk
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass(frozen=True)
class Stored:
    """One segment's wandb file."""

    file: Path

    @property
    def folder(self) -> Path:
        """`offline-run-DATE-ID`, or `run-DATE-ID` where it was online."""
        return self.file.parent

    @property
    def online(self) -> bool:
        """Whether it was uploaded while it was written."""
        return not self.folder.name.startswith("offline-")

    @property
    def uploaded(self) -> bool:
        """Whether all of it is on the server: `wandb sync` leaves a mark, and so does training."""
        return self.file.with_name(self.file.name + MARK).exists()


@dataclass(frozen=True)
class Content:
    """What a wandb file says."""

    run_id: str | None
    """None: nothing to upload, it ended before it began."""
    steps: list[int]
    """The value of `step` in each record of numbers, in order."""
    ended: bool
    """False: it is being written, or its writer was killed."""


def stored(run_dir: Path) -> list[Stored]:
    """A run's wandb files in the order of their segments; quick, opens none."""
    files = RunDir(run_dir).wandb.glob("*run-*/run-*.wandb")
    return sorted((Stored(file) for file in files if file.stat().st_size > HEADER), key=_date)


def pending(run_dir: Path) -> list[Stored]:
    """Those of them that are not, or not wholly, on the server."""
    return [one for one in stored(run_dir) if not one.uploaded]


def how_to_upload(name: str, run_dir: Path) -> str:
    """The command that uploads a run's data: by its name where that is enough to find it."""
    return f"slipway runs sync {name if run_dir == Path('runs', name) else run_dir}"


def read(file: Path) -> Content:
    """Of a wandb file, up to where it is torn."""
    run_id, steps, ended = None, [], False
    for record in records(file.read_bytes()):
        for number, value in fields(record):
            if number == 17:
                run_id = _text(value, 1) or run_id
            elif number == 18:
                ended = True
            elif number == 2:
                steps += [step for step in _steps(value)]
    return Content(run_id, steps, ended)


def records(content: bytes) -> Iterator[bytes]:
    """The whole records of a log."""
    at, parts = HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # no chunk begins in the last bytes of a block
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        data = content[at + HEADER : at + HEADER + length]
        if kind == 0 or len(data) < length:  # torn
            return
        parts = data if kind in (WHOLE, FIRST) else parts + data
        at += HEADER + length
        if kind in (WHOLE, LAST):
            yield parts


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of a Protocol Buffers message's fields that have a length; the others are passed over."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            length, at = _varint(message, at)
            yield key >> 3, message[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at


def _steps(history: bytes) -> Iterator[int]:
    for number, item in fields(history):
        if number == 1 and "step" in (_text(item, 1), _text(item, 2)):
            value = _text(item, 16)
            if value and value.isdecimal():
                yield int(value)


def _text(message: bytes, field: int) -> str:
    return next((value.decode(errors="replace") for number, value in fields(message) if number == field), "")


def _date(one: Stored) -> tuple[str, str]:
    """DATE_TIME of the folder, its name."""
    return one.folder.name.removeprefix("offline-").split("-")[1], one.folder.name
