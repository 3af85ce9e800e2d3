"""Rules for the sequence's length."""

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.errors import UserError
from slipway.models.gpt.config import gpt_of


def check(config: RunConfig) -> None:
    """Raise UserError if context- and tensor-parallel ranks cannot divide it, or if it exceeds the positions."""
    model, layout, length = gpt_of(config), config.parallelism, tokens_of(config).sequence_length
    tp, cp = layout.tensor_model_parallel_size, layout.context_parallel_size
    if length > model.max_position_embeddings:
        raise UserError(
            "data.sequence_length",
            f"is more than model.max_position_embeddings {model.max_position_embeddings}",
            use=f"at most {model.max_position_embeddings}",
            value=length,
        )
    if cp > 1 and length % (2 * cp):
        raise UserError(
            "data.sequence_length",
            f"is not divisible by 2 x parallelism.context_parallel_size {cp} = {2 * cp} (each rank takes two "
            "chunks)",
            value=length,
            do="change one of the two",
        )
    if layout.sequence_parallel and (length // cp) % tp:
        share = f"{length} / context_parallel_size {cp} = {length // cp}" if cp > 1 else f"{length}"
        raise UserError(
            "data.sequence_length",
            f"is not divisible by parallelism.tensor_model_parallel_size {tp}, as sequence_parallel needs "
            f"({length // cp} = {length // cp // tp} x {tp} + {length // cp % tp})",
            value=share,
            do="change one of the two, or set parallelism.sequence_parallel=false",
        )
