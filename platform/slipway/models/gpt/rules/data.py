"""Rules for tokens and documents."""

from slipway.config.schema import RunConfig
from slipway.data.text.config import Config as Text
from slipway.data.tokens import tokens_of
from slipway.errors import UserError
from slipway.models.gpt.config import gpt_of

BYTE_VOCAB = 257  # 256 bytes and the end mark


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken rule."""
    _check_vocabulary(config)
    _check_documents(config)


def _check_documents(config: RunConfig) -> None:
    data, rotary = config.data, gpt_of(config).position_embedding_type == "rope"
    if isinstance(data, Text) and data.reset_position_ids and rotary:
        raise UserError(
            "data.reset_position_ids",
            "has no effect with model.position_embedding_type=rope, which depends on distances "
            "only, and those do not change",
            value=True,
            use="false (data.reset_attention_mask=true keeps documents apart)",
        )


def _check_vocabulary(config: RunConfig) -> None:
    if not isinstance(config.data, Text):
        return  # the tokenizer is a file, which is read when the data is prepared
    tokenizer, entries = config.data.tokenizer, gpt_of(config).vocab_size
    if tokenizer.kind == "bpe" and tokenizer.vocab_size > entries:
        raise UserError(
            "data.tokenizer.vocab_size",
            f"is more than model.vocab_size {entries}: some tokens would have no embedding",
            value=tokenizer.vocab_size,
            do="reduce it, or raise model.vocab_size",
        )
    if tokenizer.kind == "byte" and entries < BYTE_VOCAB:
        raise UserError(
            "model.vocab_size",
            f"is less than the {BYTE_VOCAB} tokens of data.tokenizer.kind=byte (256 bytes and the end mark)",
            use=f"at least {BYTE_VOCAB}",
            value=entries,
        )


def check_tokens(config: RunConfig, entries: int) -> None:
    """Raise UserError if the tokenizer of the prepared data has more entries than the model."""
    model, folder = gpt_of(config), tokens_of(config).dir
    if entries > model.vocab_size:
        raise UserError(
            "model.vocab_size",
            f"is below the tokenizer's {entries} entries ({folder})",
            value=model.vocab_size,
            use=f"at least {entries}",
        )
