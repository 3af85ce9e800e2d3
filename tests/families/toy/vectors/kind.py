"""The pure half: nothing is prepared, no folder is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.config.schema import RunConfig
from slipway.data.files import FileRecord
from slipway.data.kind import Dataset, Split
from toy.config import toy_of
from toy.vectors.config import vectors_of


class Vectors:
    def check(self, config: RunConfig) -> None:
        pass

    def prepare(self, config: RunConfig, progress: bool) -> str:
        return "nothing to prepare"

    def make_ready(self, config: RunConfig, prepare: bool) -> None:
        pass

    def traits(self, config: RunConfig) -> Mapping[str, Any]:
        return {"numbers": (toy_of(config).inputs, toy_of(config).outputs)}

    def facts(self, config: RunConfig, source: str) -> dict[str, Any]:
        data = vectors_of(config)
        return {"data.samples": data.samples, "shift": data.sources[source].shift}

    def files(self, config: RunConfig, source: str) -> Mapping[Path, FileRecord]:
        return {}

    def open(self, config: RunConfig, split: Split, fields: frozenset[str] | None = None) -> Dataset:
        from toy.vectors.dataset import Drawn

        return Drawn(config, split)

    def folders(self, config: RunConfig) -> dict[str, Path]:
        return {}

    def written(self, config: RunConfig) -> list[Path]:
        return []

    def tokenizer(self, config: RunConfig) -> tuple[()]:
        return ()


KIND = Vectors()
