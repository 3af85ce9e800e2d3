"""A summary of a prepared text data set, for people."""

from slipway.data.text.config import Config as Data
from slipway.data.text.manifest import Manifest


def summary(data: Data, found: Manifest) -> str:
    """Return what is prepared, with a line for each source."""
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
