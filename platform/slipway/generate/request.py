"""A request to a model: prompts as tokens, how they are continued, and whether the model can. Imports no torch."""

from typing import NamedTuple

from slipway.data.text.vocabulary import Vocabulary
from slipway.errors import UserError
from slipway.models.sampling import Sampling
from slipway.models.text import Reach


class Way(NamedTuple):
    """How texts are continued."""

    tokens: int
    """The largest number of tokens for each text."""
    sampling: Sampling | None
    """How tokens are drawn; None: always the most likely one."""


def way(
    tokens: int, temperature: float | None, top_p: float | None, top_k: int | None, seed: int | None
) -> Way:
    """Return how the options continue texts. Raises UserError for an option of drawing without --temperature."""
    if temperature is None:
        for name, value in (("--top-p", top_p), ("--top-k", top_k), ("--seed", seed)):
            if value is not None:
                raise UserError(
                    f"generate {name}",
                    "has no effect without --temperature: the most likely token is always chosen",
                    value=value,
                    use="it with --temperature 1, which draws from the model's own distribution",
                )
        return Way(tokens, None)
    return Way(tokens, Sampling(temperature, 1.0 if top_p is None else top_p, top_k, seed or 0))


def prompt_of(text: str, vocabulary: Vocabulary, reach: Reach) -> list[int]:
    """Return a text's tokens; for an empty text the end mark, after which documents begin.

    Raises UserError if the text is empty and the tokenizer has no end mark, or if it is too long for the model.
    """
    tokens = vocabulary.encode(text)
    if not tokens:
        if vocabulary.end_of_document is None:
            raise UserError(
                "text",
                "is empty, and the tokenizer has no end mark to begin a document after",
                do="give a text",
            )
        tokens = [vocabulary.end_of_document]
    check_length(len(tokens), reach)
    return tokens


def check_length(tokens: int, reach: Reach) -> None:
    """Raise UserError if a prompt leaves the model no position for another token."""
    if reach.most is not None and tokens >= reach.most:
        raise UserError(
            "text",
            f"is {tokens:,} tokens long, and the model has {reach.most:,} positions "
            "(model.max_position_embeddings), one of them at least for what follows",
            use=f"at most {reach.most - 1:,} tokens",
        )


def check_entries(vocabulary: Vocabulary, vocab_size: int) -> None:
    """Raise UserError if the tokenizer has tokens that the model does not know."""
    if vocabulary.entries > vocab_size:
        raise UserError(
            vocabulary.path,
            f"is not this model's tokenizer: it has {vocabulary.entries:,} entries, and model.vocab_size is "
            f"{vocab_size:,}",
            do="put the tokenizer.json there that the run was trained with",
        )


def beyond(longest: int, way: Way, reach: Reach) -> str | None:
    """Return a warning if a text may become longer than the model can read or was made for, else None.

    longest: tokens of the longest prompt.
    """
    asked = longest + way.tokens
    if reach.most is not None and asked > reach.most:
        left = reach.most - longest
        return f"at most {left:,} tokens follow: the model has {reach.most:,} positions, the text takes {longest:,}"
    if asked > reach.known:
        return (
            f"beyond {reach.known:,} tokens (model.max_position_embeddings) the model is at positions that it was "
            "not made for: what it says there may be worth nothing"
        )
    return None
