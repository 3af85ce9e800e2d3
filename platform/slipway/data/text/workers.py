"""The processes that read and encode, and what they are asked to do."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.data.text.blocks import Block
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.inputs import InputFile
from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.data.text.manifest import FileRecord
    from slipway.data.text.shards import Counts

BATCH_BYTES = 1 << 20
"""Text that is encoded at once."""


@contextmanager
def worker_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, whatever ends it.

    Enter it before anything heavy is imported: the processes are copies of this one.
    """
    # fork: needs no importable main module; workers share what is loaded
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _begin, (os.getpid(),))
    try:
        pool.submit(os.getpid).result()
        yield pool
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker was ended from outside (out of memory?); blocks that are done are kept: run it again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    import ctypes

    # A parent that is killed tells nobody, and workers would wait for ever.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"


def build_tokenizer(
    asked: Tokenizer, files: Mapping[str, list[InputFile]], sources: Mapping[str, Source], threads: int
) -> tuple[str, int, int]:
    """Text of tokenizer.json, its number of entries, and its end-of-document token. Raises UserError."""
    from tokenizers import Tokenizer as Loaded

    from slipway.data.text.end_mark import end_of_document_id
    from slipway.data.text.tokenizer import count_entries, make_tokenizer

    text = make_tokenizer(asked, files, sources, threads)
    tokenizer = Loaded.from_str(text)
    return text, count_entries(tokenizer), end_of_document_id(tokenizer, asked)


@lru_cache(1)
def _encoder(tokenizer_path: str, end_of_document: int) -> Any:
    from tokenizers import Tokenizer as Loaded

    from slipway.data.text.fast_bpe.encode import make_encoder

    return make_encoder(Loaded.from_file(tokenizer_path), end_of_document)


def encode_block(
    block: Block, text_key: str, tokenizer_path: str, entries: int, end_of_document: int, shard: Path
) -> "Counts":
    """Read and encode a block into a shard. Raises UserError."""
    import numpy as np

    from slipway.data.text.documents import read_documents
    from slipway.data.text.fast_bpe.encode import encode_long, token_type
    from slipway.data.text.long_documents import LONGEST_PIECE
    from slipway.data.text.shards import Counts, ShardWriter
    from slipway.data.text.tokenizer import library_errors

    with library_errors("data.tokenizer.path", "the tokenizer cannot be used"):
        encoder = _encoder(tokenizer_path, end_of_document)
    with ShardWriter(shard, token_type(entries)) as writer:
        batch: list[bytes] = []
        paths: list[str] = []
        held = left_out = 0

        def encode_batch() -> None:
            if not batch:
                return
            place = " to ".join(dict.fromkeys((paths[0], paths[-1])))
            with library_errors(place, "the tokenizer cannot encode this text"):
                one_long = len(batch) == 1 and held > LONGEST_PIECE
                tokens, lengths = encode_long(encoder, batch[0]) if one_long else encoder.encode(batch)
            if np.count_nonzero(tokens == end_of_document) != len(batch):
                raise UserError(
                    place,
                    f"the tokenizer produces its end mark, token {end_of_document}, from this text",
                    do="choose another data.tokenizer.end_of_document",
                )
            writer.add(tokens, lengths, Counts(len(batch), len(tokens), held))

        for part in block.parts:
            for document in read_documents(part, text_key):
                if not document:
                    left_out += 1
                    continue
                if held + len(document) > BATCH_BYTES:
                    encode_batch()
                    batch, paths, held = [], [], 0
                batch.append(document)
                paths.append(part.path)
                held += len(document)
        encode_batch()
        writer.counts += Counts(without_text=left_out)
    return writer.counts


def write_datasets(
    shards: Mapping[str, Sequence[Path]], folder: Path, entries: int
) -> dict[str, tuple["FileRecord", "FileRecord"]]:
    """Write folder/SOURCE.bin and .idx of each source; here because it imports torch, the caller shall not."""
    from slipway.data.text.indexed import merge_shards

    return {name: merge_shards(of_source, str(folder / name), entries) for name, of_source in shards.items()}
