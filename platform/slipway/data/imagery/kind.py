"""The kind `imagery` without torch: its preparation, the meaning of its samples, and the paths of its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.data import prepared
from slipway.data.files import FileRecord
from slipway.data.imagery.config import imagery_of
from slipway.data.kind import DataKind, Dataset, Split
from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.data.imagery.config import Config as Data
    from slipway.data.imagery.manifest import Manifest


class Imagery:
    """The kind of data `imagery`."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError if bands, sizes, statistics and splits do not fit together."""
        from slipway.data.imagery.consistency import check

        check(imagery_of(config), config.validation.steps)

    def prepare(self, config: RunConfig, progress: bool) -> str:
        """Cut the sources into chips in data.dir unless that is done; return a summary of what is prepared.

        An interrupted preparation continues.
        """
        from slipway.data.imagery.preparation import prepare
        from slipway.data.imagery.summary import summary

        data = imagery_of(config)
        return summary(data, prepare(data, progress))

    def make_ready(self, config: RunConfig, prepare: bool) -> None:
        """Raise UserError unless every split that is read has chips of every source, and their bands statistics.

        prepare: prepare the data first if there is none.
        """
        from slipway.data.imagery.statistics import statistics

        data = imagery_of(config)
        found = _prepared(data, prepare)
        for split in ("training", "validation") if config.validation.steps else ("training",):
            for name in data.weights:
                _check_chips(data, found, name, split)
        statistics(data, found)

    def traits(self, config: RunConfig) -> Mapping[str, Any]:
        """Return frames; bands: their names; size: rows and columns after cropping; dtype: the type of the pixels."""
        from slipway.data.imagery import manifest

        data = imagery_of(config)
        found = manifest.load(data)
        return {
            "frames": found.num_frames,
            "bands": tuple(found.bands),
            "size": data.crop_size or found.chip_size,
            "dtype": found.dtype,
        }

    def facts(self, config: RunConfig, source: str) -> dict[str, Any]:
        """Return everything but seed and name that the meaning of a source's sample numbers depends on.

        A table has the checksum of every chip, so its own stands for the pixels, too.
        """
        from slipway.data.imagery import manifest
        from slipway.data.imagery.statistics import statistics

        data = imagery_of(config)
        found = manifest.load(data)
        by_band = statistics(data, found)
        return {
            "data.crop_size": data.crop_size or found.chip_size,
            "data.flip": data.flip,
            "the mean of its bands": list(by_band.mean),
            "the standard deviation of its bands": list(by_band.std),
            **{
                f"the checksum of its {split} chips": record.table.sha256
                for split, record in found.sources[source].splits.items()
            },
        }

    def files(self, config: RunConfig, source: str) -> dict[Path, FileRecord]:
        """Return the shards and tables of all splits with their records."""
        from slipway.data.imagery import manifest

        data = imagery_of(config)
        return manifest.files(data.dir, manifest.load(data), source)

    def open(self, config: RunConfig, split: Split, fields: frozenset[str] | None = None) -> Dataset:
        """Open a split of the sources that are drawn, and return it. Imports torch.

        If `fields` has no pixels, none are read.
        """
        from slipway.data.imagery.dataset import open_dataset

        return open_dataset(config, split, fields)

    def folders(self, config: RunConfig) -> dict[str, Path]:
        """Return the folder of the prepared data, and those of shards that are read in their place."""
        data = imagery_of(config)
        found = {"data.dir": data.dir}
        for name in data.weights:
            if data.sources[name].format == "terramesh":
                for index, entry in enumerate(data.sources[name].inputs):
                    found[f"data.sources.{name}.inputs[{index}]"] = Path(entry)
        return found

    def written(self, config: RunConfig) -> list[Path]:
        """Return manifest.json and the files that it names; without it, the files that every preparation writes."""
        from slipway.data.imagery import manifest
        from slipway.data.imagery.manifest import table_name

        data = imagery_of(config)
        try:
            found = manifest.read(data.dir)
        except UserError:
            found = None
        if found is not None:
            return [data.dir / prepared.FILE_NAME, *manifest.files(data.dir, found)]
        names = (table_name(name, "training") for name in data.sources)
        return [data.dir / name for name in (prepared.FILE_NAME, *names)]

    def tokenizer(self, config: RunConfig) -> tuple[()]:
        """Return no files: pixels are no words."""
        return ()

    unlimited = ("data.allow_large_models=true",)

    def made_up(self, config: RunConfig) -> Dataset:
        """Return samples of noise. Imports torch."""
        from slipway.data.imagery.made_up import MadeUp

        return MadeUp(imagery_of(config), config.training.seed)


KIND: DataKind = Imagery()


def _prepared(data: "Data", prepare: bool) -> "Manifest":
    from slipway.data.imagery import manifest

    if prepare:
        from slipway.data.imagery.preparation import changed_inputs
        from slipway.data.imagery.preparation import prepare as prepare_data

        if manifest.read(data.dir) is None:
            return prepare_data(data, progress=True)
    found = manifest.load(data)
    if prepare:
        for change in changed_inputs(data, found):
            print(f"{change}; training reads what was prepared", flush=True)
    return found


def _check_chips(data: "Data", found: "Manifest", name: str, split: Split) -> None:
    record = found.sources[name]
    if split in record.splits:
        return
    counts = {other: chips.chips for other, chips in record.splits.items()}
    places = sum(chips.places for chips in record.splits.values())
    raise UserError(
        f"data.sources.{name}",
        f"has no chips for {split}: {places} places have {sum(counts.values())} chips ({counts or 'none'})",
        use="more scenes, or a larger share in data.split",
        do="set validation.steps=0" if split == "validation" else "",
    )
