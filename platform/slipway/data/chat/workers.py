"""The tasks of the processes that prepare conversations."""

from collections import Counter
from functools import lru_cache
from pathlib import Path

from slipway.data.chat.config import Config as Data
from slipway.data.chat.config import Tokenizer
from slipway.data.chat.conversation import Malformed, read_conversation
from slipway.data.chat.shards import Counts, LeftOut, write_shard
from slipway.data.chat.template import Marked, Rejected
from slipway.data.chat.tokenizer import ChatTokenizer, Encoded
from slipway.data.text.blocks import Block
from slipway.data.text.documents import Line, read_lines
from slipway.errors import UserError

BATCH = 64
"""Conversations that are encoded at once."""
NO_WORDS = "without words of the assistant"
TOO_LONG = "too long"


_loaded = lru_cache(1)(ChatTokenizer)


def tokenizer_of(asked: Tokenizer) -> ChatTokenizer:
    """Return the tokenizer that is asked for. Raises UserError if a file of it is missing or not valid."""
    return _loaded(asked.path, asked.template, asked.date)


def encode_block(block: Block, source: str, data: Data, shard: Path) -> Counts:
    """Encode a block into a shard, and return its counts. Raises UserError for a line that is refused."""
    from slipway.data.text.fast_bpe.encode import token_type
    from slipway.data.text.tokenizer import library_errors

    tokenizer = tokenizer_of(data.tokenizer)
    key = data.sources[source].messages_key
    counts = Counts()
    kept: list[Encoded] = []
    waiting: list[tuple[Line, Marked]] = []

    def encode() -> None:
        nonlocal counts
        if not waiting:
            return
        with library_errors(
            waiting[0][0].place, "the tokenizer cannot encode this conversation, or one after it"
        ):
            encoded = tokenizer.encode([marked for _, marked in waiting])
        for (line, _), one in zip(waiting, encoded, strict=True):
            found = _judged(line, one, data)
            if isinstance(found, Counts):
                counts += found
                continue
            counts += Counts(
                1,
                len(found.tokens),
                int(found.loss.sum()),
                len(one.tokens),
                int(len(found.tokens) < len(one.tokens)),
                ends=Counter(found.ends),
            )
            kept.append(found)
        waiting.clear()

    for part in block.parts:
        for line in read_lines(part):
            try:
                messages = read_conversation(line.json(), key, tokenizer.special)
                waiting.append((line, tokenizer.words(messages)))
            except (Malformed, Rejected) as error:
                if data.malformed == "refuse":
                    raise UserError(
                        line.place, str(error), do="repair it, or set data.malformed=leave_out"
                    ) from error
                kind = error.kind if isinstance(error, Malformed) else "refused by the chat template"
                counts += _left_out(kind, line, str(error))
            except UserError as error:
                if error.path == "data.tokenizer.template":
                    raise error.replaced(problem=f"{error.problem} ({line.place})") from error
                raise
            if len(waiting) == BATCH:
                encode()
    encode()
    write_shard(shard, kept, token_type(tokenizer.entries), counts)
    return counts


def _judged(line: Line, one: Encoded, data: Data) -> Encoded | Counts:
    """Return a conversation as it is kept, or the counts of one that is left out.

    Raises UserError if it is too long and data.long is `refuse`.
    """
    most, tokens = data.sequence_length + 1, len(one.tokens)
    if not one.loss.any():
        return _left_out(NO_WORDS, line, "nothing in it is to be learnt")
    if tokens <= most:
        return one
    sum_ = f"{tokens} tokens, more than data.sequence_length {data.sequence_length} + 1 = {most}"
    if data.long == "refuse":
        raise UserError(line.place, f"has {sum_}", do="set data.long=cut or data.long=leave_out")
    if data.long == "leave_out":
        return _left_out(TOO_LONG, line, sum_, tokens)
    cut = Encoded(one.tokens[:most], one.loss[:most], one.ends)
    return (
        cut
        if cut.loss.any()
        else _left_out(NO_WORDS, line, f"of {sum_}, the first {most} are not the assistant's", tokens)
    )


def _left_out(kind: str, line: Line, why: str, tokens: int = 0) -> Counts:
    return Counts(longest=tokens, left_out={kind: LeftOut(1, f"{line.place}: {why}")})
