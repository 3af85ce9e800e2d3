"""The tasks of the processes that prepare text."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.data.text.blocks import Block
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.inputs import InputFile
from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.data.files import FileRecord
    from slipway.data.text.shards import Counts

ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false"}
"""Variables of these processes: the library's threads would compete with them."""
BATCH_BYTES = 1 << 18
"""Bytes of text that are encoded at once."""


def build_tokenizer(
    asked: Tokenizer, files: Mapping[str, list[InputFile]], sources: Mapping[str, Source], threads: int
) -> tuple[str, int, int, str | None]:
    """Return the text of tokenizer.json, its entries, its end-of-document token, and why encoding is slow.

    The last is None if it is fast. Raises UserError if the tokenizer cannot be made.
    """
    from tokenizers import Tokenizer as Loaded

    from slipway.data.text.end_mark import end_of_document_id
    from slipway.data.text.fast_bpe.encode import reason_for_library
    from slipway.data.text.tokenizer import count_entries, make_tokenizer

    text = make_tokenizer(asked, files, sources, threads)
    tokenizer = Loaded.from_str(text)
    end = end_of_document_id(tokenizer, asked)
    return text, count_entries(tokenizer), end, reason_for_library(tokenizer, end)


@lru_cache(1)
def encoder_of(tokenizer_path: str, end_of_document: int, entries: int) -> Any:
    """Return the encoder of a tokenizer; the last one is kept, with the words that it has met."""
    from tokenizers import Tokenizer as Loaded

    from slipway.data.text.fast_bpe.encode import make_encoder

    return make_encoder(Loaded.from_file(tokenizer_path), end_of_document, entries)


def encode_block(
    block: Block, text_key: str, tokenizer_path: str, entries: int, end_of_document: int, shard: Path
) -> "Counts":
    """Encode a block into a shard, and return its counts. Raises UserError if a document cannot be encoded."""
    import numpy as np

    from slipway.data.text.documents import read_documents
    from slipway.data.text.fast_bpe.encode import encode_long, token_type
    from slipway.data.text.long_documents import LONGEST_PIECE
    from slipway.data.text.shards import Counts, ShardWriter
    from slipway.data.text.tokenizer import library_errors

    with library_errors("data.tokenizer.path", "the tokenizer cannot be used"):
        encoder = encoder_of(tokenizer_path, end_of_document, entries)
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
    """Write folder/SOURCE.bin and .idx of each source, and return their records.

    A worker does this, since it imports torch and the caller shall not.
    """
    from slipway.data.text.indexed import merge_shards

    return {name: merge_shards(of_source, str(folder / name), entries) for name, of_source in shards.items()}
