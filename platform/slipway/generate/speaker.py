"""A model that continues texts."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from slipway.data.text.vocabulary import Vocabulary
from slipway.generate import request
from slipway.generate.request import Way
from slipway.generate.show import Terminal, Text
from slipway.models.generation import go_on
from slipway.models.text import Reach

if TYPE_CHECKING:
    from slipway.models.text import TextModel


class Speaker(NamedTuple):
    """A model with its vocabulary, and how it continues texts."""

    model: "TextModel"
    vocabulary: Vocabulary
    reach: Reach
    way: Way

    def say(
        self,
        texts: Sequence[str],
        prompts: Sequence[Sequence[int]],
        shown: Callable[[Sequence[Text]], Terminal] | None = None,
    ) -> list[Text]:
        """Continue all texts, whose tokens are `prompts`, and return them when they have ended.

        shown: makes the Terminal that prints them while they grow; None: nothing is printed.
        """
        found = [Text(text, self.vocabulary, tokens) for text, tokens in zip(texts, prompts, strict=True)]
        if warning := request.beyond(max(map(len, prompts)), self.way, self.reach):
            print(f"generate: {warning}", file=sys.stderr, flush=True)
        terminal = shown(found) if shown else None
        end = self.vocabulary.end_of_document
        for said in go_on(
            self.model,
            prompts,
            self.way.tokens,
            ends=() if end is None else (end,),
            most=self.reach.most,
            sampling=self.way.sampling,
        ):
            new = found[said.row].add(said, self.way.tokens)
            if terminal:
                terminal.show(said.row, new)
        return found
