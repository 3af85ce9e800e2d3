"""`slipway bench data`: tokens per second per core of `slipway data` against one document at a time, and tiktoken.

The first two read the same JSON lines with the same tokenizer and write Megatron-core's .bin and .idx, each in one
process with one thread; they take turns. The first reference does for each line what a straightforward loop does:
json.loads, tokenizer.encode, IndexedDatasetBuilder.add_item and end_document. Every turn begins with an empty memory of
words, and the files of all turns must be the same bytes. Imports and the making of the tokenizer are not measured.

The second reference is tiktoken's encoding alone, of the same texts, in memory, with the same vocabulary and pattern;
making its encoder is not measured. Its tokens must be the same; if it cannot make them, that row is missing.
"""

import argparse
import filecmp
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from slipway.bench import tiktoken_alone
from slipway.bench.child import in_child
from slipway.bench.record import named, publish
from slipway.bench.vocabularies import END_OF_DOCUMENT, PUBLISHED, train
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.inputs import find_inputs
from slipway.errors import EXIT_DONE, UserError


@dataclass(frozen=True)
class Row:
    """One way to prepare data; rates of one core."""

    preparation: str
    tokens_per_second: float = named("tokens/s/core")
    least_tokens_per_second: float = named("least")
    most_tokens_per_second: float = named("most")
    megabytes_per_second: float = named("MB/s/core")


@dataclass(frozen=True)
class Summary:
    """How much was read, and how much faster `slipway data` is."""

    text_bytes: int = named("text, bytes")
    tokens: int = named("tokens")
    entries: int = named("entries of the tokenizer")
    ratio: float = named("slipway / one document at a time (median of turns)")
    ratio_to_tiktoken: float | None = named("slipway / tiktoken's encoding alone (median of turns)")


@dataclass(frozen=True)
class Task:
    """The input of all encoders: folder/text.jsonl with folder/tokenizer.json."""

    folder: Path
    entries: int
    end: int


def run(options: argparse.Namespace) -> int:
    """Measure, print the rates and their ratios, and return the exit code; slipway.bench.imagery measures imagery."""
    if options.kind == "imagery":
        from slipway.bench import imagery

        return imagery.run(options)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        source = Source(inputs=[options.input], text_key=options.text_key)
        text_bytes = write_lines(source, folder / "text.jsonl", int(options.megabytes * 1e6))
        made = in_child(
            make_tokenizer, folder, options.tokenizer, options.vocab_size, options.end_of_document
        )
        if isinstance(made, UserError):
            raise made
        task = Task(folder, *made)
        missing = in_child(tiktoken_alone.why_not, folder)
        if missing:
            print(f"bench data: without tiktoken: {missing}", file=sys.stderr, flush=True)
        seconds, tokens = _measure(task, options.rounds, with_tiktoken=missing is None)
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
    ratios = {
        name: median(a / b for a, b in zip(rates["slipway"], of_one, strict=True))
        for name, of_one in rates.items()
    }
    summary = Summary(text_bytes, tokens, task.entries, ratios["one at a time"], ratios.get(TIKTOKEN))
    publish("data", options.argv, rows, summary, as_json=options.json)
    return EXIT_DONE


def write_lines(source: Source, path: Path, most: int) -> int:
    """Write a source's documents as JSON lines, up to `most` bytes of text; return the bytes of text."""
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


def make_tokenizer(
    folder: Path, name: str, vocab_size: int, end_of_document: str
) -> tuple[int, int] | UserError:
    """Write folder/tokenizer.json; return its number of entries and its end mark, or the error.

    name: gpt2 (as `slipway data` trains it), one of PUBLISHED, or the path of a tokenizer.json.
    """
    from slipway.data.text.tokenizer import check_asked
    from slipway.data.text.workers import build_tokenizer

    path = folder / "tokenizer.json"
    asked = Tokenizer(kind="file", path=path, end_of_document=END_OF_DOCUMENT)
    if name in PUBLISHED:
        os.environ["RAYON_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
        train(PUBLISHED[name], _texts(folder), vocab_size).save(str(path))
    elif name == "gpt2":
        asked = Tokenizer(vocab_size=vocab_size, end_of_document=END_OF_DOCUMENT)
    else:
        asked = Tokenizer(kind="file", path=Path(name), end_of_document=end_of_document)
    source = Source(inputs=[str(folder / "text.jsonl")])
    try:
        check_asked(asked)
        text, entries, end, _ = build_tokenizer(
            asked, {"bench": find_inputs("bench", source)}, {"bench": source}, len(os.sched_getaffinity(0))
        )
    except UserError as error:
        return error
    path.write_text(text, encoding="utf-8")
    return entries, end


def _texts(folder: Path) -> Iterator[str]:
    with open(folder / "text.jsonl", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def one_at_a_time(task: Task) -> Callable[[Path], int]:
    """Make the tokenizer; return what encodes one document at a time, as the reference does.

    That writes prefix.bin and prefix.idx, and returns the number of tokens written.
    """
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder
    from tokenizers import Tokenizer as Loaded

    tokenizer = Loaded.from_file(str(task.folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True

    def encode(prefix: Path) -> int:
        builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=DType.optimal_dtype(task.entries))
        tokens = 0
        for text in _texts(task.folder):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            ids.append(task.end)
            builder.add_item(torch.tensor(ids))
            builder.end_document()
            tokens += len(ids)
        builder.finalize(f"{prefix}.idx")
        return tokens

    return encode


def slipway(task: Task) -> Callable[[Path], int]:
    """Make the tokenizer; return what encodes as `slipway data` does with one worker, from text to .bin and .idx.

    That returns the number of tokens written.
    """
    from slipway.data.text.blocks import block_size, cut_into_blocks
    from slipway.data.text.indexed import merge_shards
    from slipway.data.text.workers import encode_block, encoder_of

    files = find_inputs("bench", Source(inputs=[str(task.folder / "text.jsonl")]))
    tokenizer = str(task.folder / "tokenizer.json")
    encoder_of(tokenizer, task.end, task.entries)  # which encode_block finds

    def encode(prefix: Path) -> int:
        shards, tokens = [], 0
        for block in cut_into_blocks(files, "text", block_size(files[0].size)):
            shards.append(task.folder / f"{prefix.name}-{block.index:06d}.shard")
            tokens += encode_block(block, "text", tokenizer, task.entries, task.end, shards[-1]).tokens
        merge_shards(shards, str(prefix), task.entries)
        for shard in shards:
            shard.unlink()
        return tokens

    return encode


CONTENDERS: dict[str, Callable[[Task], Callable[[Path], int]]] = {
    "slipway": slipway,
    "one at a time": one_at_a_time,
}
TIKTOKEN = "tiktoken, encoding alone"


def _measure(task: Task, rounds: int, with_tiktoken: bool) -> tuple[dict[str, list[float]], int]:
    """Return the seconds of processor time of each turn, and the number of tokens in the text."""
    import torch

    import slipway.data.text.indexed  # noqa: F401  with Megatron-core, once and before the turns

    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    if with_tiktoken:
        seconds[TIKTOKEN] = []
    reference, counted = task.folder / "reference", 0
    for turn in range(rounds):
        for name in ("one at a time", "slipway"):
            prefix = reference if turn == 0 and name == "one at a time" else task.folder / "turn"
            taken, tokens = in_child(_timed, name, task, prefix)
            seconds[name].append(taken)
            counted = counted or tokens
            for suffix in (".bin", ".idx"):
                same = filecmp.cmp(f"{prefix}{suffix}", f"{reference}{suffix}", shallow=False)
                assert same and tokens == counted, f"{name} wrote another {suffix} than the reference"
        if with_tiktoken:
            tokens = Path(f"{reference}.bin") if turn == 0 else None
            seconds[TIKTOKEN].append(
                in_child(tiktoken_alone.timed, task.folder, task.entries, task.end, tokens)
            )
    return seconds, counted


def _timed(name: str, task: Task, prefix: Path) -> tuple[float, int]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread
    encode = CONTENDERS[name](task)
    gc.freeze()  # the collector's search through all imported objects counts for no contender
    started = time.process_time()
    tokens = encode(prefix)
    return time.process_time() - started, tokens
