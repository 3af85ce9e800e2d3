"""What this family trains on, before torch: prepared text whose vocabulary fits the model, and where a run is in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.data.ledger import DataLedger
from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.data.text.manifest import Manifest


def make_ready(config: RunConfig, prepare: bool) -> None:
    """Check that the data is prepared and fits the model; prepare: do what is missing. Raises UserError."""
    from slipway.data.text.split import check_split

    found = _prepared(config, prepare)
    if found.vocab_size > config.model.vocab_size:
        raise UserError(
            "model.vocab_size",
            f"is below the tokenizer's {found.vocab_size} entries ({config.data.dir})",
            value=config.model.vocab_size,
            use=f"at least {found.vocab_size}",
        )
    wants_validation = config.validation.steps > 0
    check_split(config.data, found, (True, wants_validation, False))
    for name in weights(config):
        _check_length(config, name, found.sources[name], wants_validation)


def _prepared(config: RunConfig, prepare: bool) -> "Manifest":
    from slipway.data import prepare as prepare_data
    from slipway.data.text import manifest
    from slipway.data.text.checks import changed_inputs

    if prepare and manifest.read(config.data.dir) is None:
        return prepare_data(config.data, progress=True)
    found = manifest.load(config.data)
    for change in changed_inputs(config.data, found) if prepare else ():
        print(f"{change}; training reads what was prepared", flush=True)
    return found


def weights(config: RunConfig) -> dict[str, float]:
    """The blend: relative shares of the sources that are drawn."""
    return {name: source.weight for name, source in config.data.sources.items() if source.weight}


def ledger(config: RunConfig, earlier: DataLedger | None, verify: bool) -> DataLedger:
    """The position from which the run goes on: a checkpoint's, with the blend of now, or the beginning.

    verify: read files whose size or time is another than when the checkpoint was written, and compare their
    checksums. Raises UserError where the samples would not be those that the run began with.
    """
    from slipway.data.text import manifest

    found = manifest.load(config.data)
    drawn = weights(config)
    facts = {name: _facts(config, found, name) for name in drawn}
    signatures = {name: _signature(config, name) for name in drawn}
    if earlier is None:
        return DataLedger.begin(config.training.seed, drawn, facts, signatures)
    data = earlier.resume(config.training.seed, drawn, facts, signatures)
    if verify:
        for name in drawn:
            _verify(config, found.sources[name], name, earlier.signatures.get(name), signatures[name])
    return data


def _facts(config: RunConfig, found: Any, name: str) -> dict[str, Any]:
    """All that the meaning of a source's sample number depends on, besides seed and name."""
    return {
        "training.sequence_length": config.training.sequence_length,
        "data.split": list(config.data.split),
        "the checksum of its tokens": found.sources[name].bin.sha256,
        "the checksum of its index": found.sources[name].idx.sha256,
        "the checksum of tokenizer.json": found.tokenizer.file.sha256,
    }


def _files(config: RunConfig, name: str) -> list[Path]:
    from slipway.data.text import manifest

    return [Path(f"{manifest.prefix(config.data, name)}{suffix}") for suffix in (".bin", ".idx")]


def _signature(config: RunConfig, name: str) -> list[list[int]]:
    """Size in bytes and time of the last change in ns, of .bin and .idx."""
    return [[status.st_size, status.st_mtime_ns] for status in (path.stat() for path in _files(config, name))]


def _verify(config: RunConfig, record: Any, name: str, before: Any, now: Any) -> None:
    """Compare the files whose signature has changed with their checksums; before: None where they are new."""
    from hashlib import file_digest

    files = zip(_files(config, name), (record.bin, record.idx), before or now, now, strict=True)
    for path, expected, old, new in files:
        if old == new:
            continue
        print(
            f"data.sources.{name}: {path} was written or copied since the last checkpoint; comparing its "
            f"{expected.bytes} bytes with their checksum",
            flush=True,
        )
        with open(path, "rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        if digest != expected.sha256:
            raise UserError(
                f"data.sources.{name}",
                f"has changed since it was prepared: its SHA-256 is {digest[:12]}..., but {expected.sha256[:12]}... "
                "in its manifest",
                value=path,
                do=f"put the file back, or remove {path.parent} and run `slipway data`",
            )


def _check_length(config: RunConfig, name: str, record: Any, wants_validation: bool) -> None:
    """Each split that is read needs at least one sample of every source."""
    from slipway.data.text.manifest import prefix
    from slipway.data.text.split import samples_per_epoch
    from slipway.data.text.tokens import find_split

    length = config.training.sequence_length
    for split in ("training", "validation") if wants_validation else ("training",):
        tokens = find_split(prefix(config.data, name), record, config.data.split, split).count
        if not samples_per_epoch(tokens, length):
            raise UserError(
                f"data.sources.{name}",
                f"{tokens} of its {record.tokens} tokens are for {split} (data.split {list(config.data.split)}), "
                f"below training.sequence_length {length} + 1",
                use="a longer text, a larger share, a shorter "
                f"sequence{', validation.steps=0' if split == 'validation' else ''}",
            )
