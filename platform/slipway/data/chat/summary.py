"""A summary of prepared conversations, for people."""

from slipway.data.chat.config import Config as Data
from slipway.data.chat.manifest import Manifest, SourceRecord


def summary(data: Data, found: Manifest) -> str:
    """Return what is prepared, with a line for each source."""
    tokenizer = found.tokenizer
    lines = [
        f"{data.dir}: tokenizer of {tokenizer.entries:,} entries, turns end with {tokenizer.end_of_document}, "
        f"{found.token_type} tokens"
    ]
    return "\n".join(
        [*lines, *(_line(name, one, found.sequence_length) for name, one in found.sources.items())]
    )


def _line(name: str, source: SourceRecord, length: int) -> str:
    places = source.tokens - source.conversations
    left_out = sum(one.count for one in source.left_out_conversations.values())
    parts = [
        f"{source.conversations:,} conversations of {source.tokens:,} tokens (the longest {source.longest:,})",
        f"{source.loss_tokens / source.tokens:.0%} with loss",
        f"{source.samples:,} samples, {places / (source.samples * length):.0%} full",
        *([f"{source.cut:,} cut"] if source.cut else []),
        *([f"{left_out:,} left out"] if left_out else []),
        *([f"{source.left_out:,} files left out"] if source.left_out else []),
    ]
    return f"  {name}: {', '.join(parts)}"
