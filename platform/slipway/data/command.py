"""`slipway data`: prepare the text that training reads."""

import argparse

from slipway.config.schema import Data, RunConfig
from slipway.data.text.manifest import Manifest
from slipway.data.text.preparation import prepare
from slipway.errors import EXIT_DONE


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Prepare data.dir, or say that it is prepared, and print what it holds."""
    print(summary(config.data, prepare(config.data, progress=True)))
    return EXIT_DONE


def summary(data: Data, found: Manifest) -> str:
    """What is prepared, a line for each source."""
    kind = found.tokenizer.kind
    lines = [f"{data.dir}: {kind} tokenizer, {found.vocab_size:,} entries, {found.token_type} tokens"]
    for name, source in found.sources.items():
        left_out = f", {source.without_text:,} documents without text left out" if source.without_text else ""
        lines.append(
            f"  {name}: {source.documents:,} documents, {source.tokens:,} tokens "
            f"({source.text_bytes / source.tokens:.2f} bytes each) from {source.files:,} files{left_out}"
            + (f", {source.left_out:,} files left out" if source.left_out else "")
        )
    return "\n".join(lines)
