"""Published measurements as rows: read, told apart from what a GPT of ours cannot say, and split into halves.

published-rows.csv has rows from repositories, papers.csv the tables of the Megatron-LM papers; both have the place of
each row in `source`. Constants are fitted on the half `fit` alone. The split was fixed before anything was fitted: of
the rows of one source and device, in the order of the files, the first is to fit, the second to test, and so on.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

HERE = Path(__file__).parent
NEEDED = ("layers", "hidden", "heads", "vocab", "seq", "gpus", "tp", "pp", "cp", "mbs", "gbs")


class Row(NamedTuple):
    """One measurement. half: what it may be used for."""

    cells: dict[str, str]
    half: Literal["fit", "test"]

    @property
    def name(self) -> str:
        return self.cells["id"]

    @property
    def source(self) -> str:
        """The set, and for one with several kinds of device also the device."""
        return f"{self.cells['set']} {self.cells['gpu'].split(' ')[0]}"

    def text(self, column: str) -> str:
        return self.cells[column]

    def number(self, column: str, default: int | None = None) -> int:
        """A whole number; `default` where the cell is empty."""
        if self.cells[column] == "" and default is not None:
            return default
        return int(self.cells[column])

    @property
    def seconds(self) -> float | None:
        """Of a step, where the source has a time, or tokens per second."""
        if self.cells["step_s"]:
            return float(self.cells["step_s"])
        if self.cells["tok_s_gpu"]:
            tokens = self.number("gbs") * self.number("seq")
            return tokens / float(self.cells["tok_s_gpu"]) / self.number("gpus")
        return None

    @property
    def peak_gib(self) -> float | None:
        """Peak memory in GiB; how it was measured stands in `mem_kind`."""
        return float(self.cells["peak_mem_gib"]) if self.cells["peak_mem_gib"] else None


def unsayable(row: Row) -> str | None:
    """Why a row is none of ours; None where its configuration can be written down."""
    cells = row.cells
    if cells["precision"].startswith(("fp8", "mxfp8")):
        return "FP8: another set of constants, and another half of the table"
    if "mla" in cells["arch"]:
        return "multi-head latent attention: no family of ours has it"
    if "hybrid" in cells["arch"]:
        return "state-space layers: no family of ours has them"
    if cells["model"].startswith("llama4"):
        return "chunked attention, shared experts, every other layer dense: no family of ours has them"
    if missing := [column for column in NEEDED if not cells[column]]:
        return f"incomplete: no {', '.join(missing)}"
    if cells["experts"] and not cells["ep"]:
        return "incomplete: no ep"
    if not any(cells[column] for column in ("step_s", "tok_s_gpu", "tflops_gpu")):
        return "neither seconds, nor tokens per second, nor TFLOP/s"
    if cells["etp"] and cells["etp"] != cells["tp"]:
        return (
            f"experts in {cells['etp']} tensor-parallel parts, the rest in {cells['tp']}: ours have one size"
        )
    if cells["overlap"] == "EP all-to-all":
        return "exchanges of experts hidden behind another microbatch: no switch of ours does it"
    return None


@cache
def rows() -> tuple[Row, ...]:
    """All rows of both files."""
    return tuple(_read())


def _read() -> Iterator[Row]:
    seen: Counter[str] = Counter()
    for file in ("papers.csv", "published-rows.csv"):
        with (HERE / file).open(encoding="utf-8", newline="") as lines:
            for cells in csv.DictReader(lines):
                row = Row(cells, "fit")
                if unsayable(row) is None:
                    seen[row.source] += 1
                    row = row._replace(half="fit" if seen[row.source] % 2 else "test")
                yield row


def sayable() -> list[Row]:
    """The rows whose configuration can be written down."""
    return [row for row in rows() if unsayable(row) is None]
