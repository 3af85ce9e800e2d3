"""Continue texts with a model, token by token. Imports torch when it runs."""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from slipway.models.sampling import Dice, Sampling, distribution

if TYPE_CHECKING:
    from torch import Tensor

    from slipway.models.text import TextModel

End = Literal["token", "length"]
"""Why a text ends: by a token that ends texts, or because it has reached its longest length."""


class Said(NamedTuple):
    """One more token of a text."""

    row: int
    token: int
    end: End | None
    """Why nothing follows; None: the text continues."""


def go_on(
    model: "TextModel",
    prompts: Sequence[Sequence[int]],
    tokens: int,
    *,
    ends: Collection[int] = (),
    most: int | None = None,
    sampling: Sampling | None = None,
) -> Iterator[Said]:
    """Yield up to so many tokens for each prompt, step by step for all rows together; a token of `ends` ends a row.

    A token that ends a text is yielded, too. Prompts may differ in length, but must not be empty: rows read the length
    of the shortest at once, and then a token at a time (slipway.models.text.Reading), so that prompts of similar
    lengths are read fastest. most: tokens of prompt and text that the model can read; None: any number. sampling: None
    takes the most likely token.
    """
    import torch

    lengths = [len(prompt) for prompt in prompts]
    stops = [length + tokens if most is None else min(length + tokens, most) for length in lengths]
    open_rows = {row for row, stop in enumerate(stops) if stop > lengths[row]}
    if not open_rows:
        return
    dice = [Dice(sampling.seed, row) for row in range(len(prompts))] if sampling else []
    reading = model.begin(len(prompts), max(stops[row] for row in open_rows))
    length = min(lengths)
    read = torch.tensor([prompt[:length] for prompt in prompts], device=model.device)
    while True:
        logits = reading.read(read)
        likeliest: list[int] = logits.argmax(-1).tolist()
        following = []
        for row, prompt in enumerate(prompts):
            if length < lengths[row]:
                following.append(prompt[length])
                continue
            token = _drawn(logits[row], dice[row], sampling) if sampling else likeliest[row]
            following.append(token)
            if row in open_rows:
                end = "token" if token in ends else "length" if length + 1 >= stops[row] else None
                open_rows -= {row} if end else set()
                yield Said(row, token, end)
        length += 1
        if not open_rows:
            return
        read = torch.tensor(following, device=model.device)[:, None]


def _drawn(logits: "Tensor", dice: Dice, sampling: Sampling) -> int:
    return dice.draw(distribution(logits.cpu().numpy(), sampling))
