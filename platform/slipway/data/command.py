"""`slipway data`: prepare the text that training reads."""

import argparse

from slipway.config.schema import Data, RunConfig
from slipway.data import inputs, manifest
from slipway.data.preparation import prepare
from slipway.errors import EXIT_DONE, UserError


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Prepare data.dir, or say that it is prepared, and print what it holds."""
    data = config.data
    found = manifest.read(data.dir)
    if found is not None:
        found = manifest.load(data)
        _check_inputs(data, found)
    print(summary(data, found or prepare(data, progress=True)))
    return EXIT_DONE


def summary(data: Data, found: manifest.Manifest) -> str:
    """What is prepared, a line for each source."""
    lines = [f"{data.dir}: {found.tokenizer.kind} tokenizer, {found.vocab_size:,} entries, {found.token_type} tokens"]
    for name, source in found.sources.items():
        left_out = f", {source.without_text:,} documents without text left out" if source.without_text else ""
        lines.append(
            f"  {name}: {source.documents:,} documents, {source.tokens:,} tokens "
            f"({source.text_bytes / source.tokens:.2f} bytes each) from {source.files:,} files{left_out}"
        )
    return "\n".join(lines)


def _check_inputs(data: Data, found: manifest.Manifest) -> None:
    """Raise UserError where the inputs are no longer those that were read."""
    for name, source in data.sources.items():
        files = inputs.find_inputs(name, source)
        record = found.sources[name]
        if inputs.fingerprint(files) != record.input_sha256:
            raise UserError(
                f"data.sources.{name}.inputs: the files have changed since {data.dir} was prepared "
                f"({record.files} files of {record.input_bytes} bytes then, {len(files)} of "
                f"{sum(file.size for file in files)} now); remove {data.dir} to prepare it again"
            )
