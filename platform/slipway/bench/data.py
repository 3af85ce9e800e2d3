"""`slipway bench data`: tokens per second per core of `slipway data` against one document at a time.

Both read the same JSON lines with the same tokenizer and write Megatron-core's .bin and .idx, each in one
process with one thread; the two take turns. The reference does for each line what a straightforward loop
does: json.loads, tokenizer.encode, IndexedDatasetBuilder.add_item and end_document. Every turn begins with an
empty memory of words, and the files of all turns must be the same bytes. Imports and the training of the
tokenizer are not measured.
"""

import argparse
import filecmp
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from slipway.bench.child import in_child
from slipway.bench.record import named, publish
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.inputs import find_inputs
from slipway.errors import EXIT_DONE

END_OF_DOCUMENT = "<|endoftext|>"


@dataclass(frozen=True)
class Row:
    """One way of preparation; rates of one core."""

    preparation: str
    tokens_per_second: float = named("tokens/s/core")
    least_tokens_per_second: float = named("least")
    most_tokens_per_second: float = named("most")
    megabytes_per_second: float = named("MB/s/core")


@dataclass(frozen=True)
class Summary:
    """What was read, and how much faster `slipway data` is."""

    text_bytes: int = named("text, bytes")
    tokens: int = named("tokens")
    ratio: float = named("slipway / one document at a time (median of turns)")


def run(options: argparse.Namespace) -> int:
    """Measure, and print both rates and their ratio; of imagery, see slipway.bench.imagery."""
    if options.kind == "imagery":
        from slipway.bench import imagery

        return imagery.run(options)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        source = Source(inputs=[options.input], text_key=options.text_key)
        text_bytes = write_lines(source, folder / "text.jsonl", int(options.megabytes * 1e6))
        in_child(train_tokenizer, folder, options.vocab_size)
        seconds, tokens = _measure(folder, options.rounds)
    rates = {name: [tokens / s for s in of_one] for name, of_one in seconds.items()}
    rows = [
        Row(
            preparation=name,
            tokens_per_second=median(of_one),
            least_tokens_per_second=min(of_one),
            most_tokens_per_second=max(of_one),
            megabytes_per_second=median(of_one) / tokens * text_bytes / 1e6,
        )
        for name, of_one in rates.items()
    ]
    ratio = median(a / b for a, b in zip(rates["slipway"], rates["one at a time"], strict=True))
    summary = Summary(text_bytes, tokens, ratio)
    publish("data", options.argv, rows, summary, as_json=options.json)
    return EXIT_DONE


def write_lines(source: Source, path: Path, most: int) -> int:
    """Write a source's documents as JSON lines, up to `most` bytes of text; returns the bytes of text."""
    from slipway.data.text.blocks import block_size, cut_into_blocks
    from slipway.data.text.documents import read_documents

    written = 0
    with open(path, "w", encoding="utf-8") as out:
        for block in cut_into_blocks(find_inputs("bench", source), source.text_key, block_size(0)):
            for part in block.parts:
                for document in read_documents(part, source.text_key):
                    if document and written + len(document) <= most:
                        out.write(json.dumps({"text": document.decode()}) + "\n")
                        written += len(document)
    return written


def train_tokenizer(folder: Path, vocab_size: int) -> None:
    """Write folder/tokenizer.json: BPE, trained on folder/text.jsonl."""
    from slipway.data.text.tokenizer import make_tokenizer

    source = Source(inputs=[str(folder / "text.jsonl")])
    asked = Tokenizer(vocab_size=vocab_size, end_of_document=END_OF_DOCUMENT)
    files = {"bench": find_inputs("bench", source)}
    text = make_tokenizer(asked, files, {"bench": source}, len(os.sched_getaffinity(0)))
    (folder / "tokenizer.json").write_text(text)


def one_at_a_time(folder: Path, prefix: Path) -> int:
    """The reference; returns the tokens written."""
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder
    from tokenizers import Tokenizer as Loaded

    tokenizer = Loaded.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    end = tokenizer.token_to_id(END_OF_DOCUMENT)
    assert end is not None
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=DType.optimal_dtype(tokenizer.get_vocab_size()))
    tokens = 0
    with open(folder / "text.jsonl", encoding="utf-8") as lines:
        for line in lines:
            ids = tokenizer.encode(json.loads(line)["text"]).ids
            ids.append(end)
            builder.add_item(torch.tensor(ids))
            builder.end_document()
            tokens += len(ids)
    builder.finalize(f"{prefix}.idx")
    return tokens


def slipway(folder: Path, prefix: Path) -> int:
    """What `slipway data` does with one worker, from text to .bin and .idx; returns the tokens written."""
    from tokenizers import Tokenizer as Loaded

    from slipway.data.text.blocks import block_size, cut_into_blocks
    from slipway.data.text.indexed import merge_shards
    from slipway.data.text.workers import encode_block

    path = folder / "tokenizer.json"
    tokenizer = Loaded.from_file(str(path))
    entries, end = tokenizer.get_vocab_size(), tokenizer.token_to_id(END_OF_DOCUMENT)
    assert end is not None
    files = find_inputs("bench", Source(inputs=[str(folder / "text.jsonl")]))
    shards, tokens = [], 0
    for block in cut_into_blocks(files, "text", block_size(files[0].size)):
        shards.append(folder / f"{prefix.name}-{block.index:06d}.shard")
        tokens += encode_block(block, "text", str(path), entries, end, shards[-1]).tokens
    merge_shards(shards, str(prefix), entries)
    for shard in shards:
        shard.unlink()
    return tokens


CONTENDERS: dict[str, Callable[[Path, Path], int]] = {"slipway": slipway, "one at a time": one_at_a_time}


def _measure(folder: Path, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of processor time of each turn, and the tokens in the text."""
    import torch

    import slipway.data.text.indexed  # noqa: F401  with Megatron-core, once and before the turns

    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    reference, counted = folder / "reference", 0
    for turn in range(rounds):
        for name in ("one at a time", "slipway"):
            prefix = reference if turn == 0 and name == "one at a time" else folder / "turn"
            taken, tokens = in_child(_timed, name, folder, prefix)
            seconds[name].append(taken)
            counted = counted or tokens
            for suffix in (".bin", ".idx"):
                same = filecmp.cmp(f"{prefix}{suffix}", f"{reference}{suffix}", shallow=False)
                assert same and tokens == counted, f"{name} wrote another {suffix} than the reference"
    return seconds, counted


def _timed(name: str, folder: Path, prefix: Path) -> tuple[float, int]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread
    started = time.process_time()
    tokens = CONTENDERS[name](folder, prefix)
    return time.process_time() - started, tokens
