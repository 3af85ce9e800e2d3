"""Texts as they come, one after the other, however many the model makes at once."""

import json
import sys
from collections.abc import Sequence

from slipway.data.text.vocabulary import Unfolding, Vocabulary
from slipway.models.generation import Said

_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
_CONTROL |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def visible(text: str) -> str:
    """Return the text without the power over a terminal: a model may say any control character."""
    return text.translate(_CONTROL)


class Text:
    """A prompt and what follows."""

    def __init__(self, prompt: str, vocabulary: Vocabulary, read: Sequence[int]) -> None:
        """read: the prompt's tokens."""
        self.prompt, self.vocabulary = prompt, vocabulary
        self.unfolding = Unfolding(vocabulary, read)
        self.tokens: list[int] = []
        self.text = ""
        self.end = ""
        """Why nothing follows: the `document` has ended, or there are no `tokens` to say or `positions` left."""

    def add(self, said: Said, asked: int) -> str:
        """Take a token; return what is new of the text. asked: how many tokens were asked for."""
        if said.end != "token":
            self.tokens.append(said.token)
            new = self.unfolding.add(said.token)
        else:
            new = ""
        if said.end:
            new += self.unfolding.end()
            longest = "tokens" if len(self.tokens) == asked else "positions"
            self.end = "document" if said.end == "token" else longest
        self.text += new
        return new


class Terminal:
    """Prints the first text as it comes, and the others when those before them have ended."""

    def __init__(self, texts: Sequence[Text], prompts: bool = True) -> None:
        """prompts: print these, too."""
        self.texts, self.prompts = texts, prompts
        self.at = 0
        self.begun = False
        self.clean = visible if sys.stdout.isatty() else str

    def show(self, row: int, new: str) -> None:
        """One of the texts has become longer."""
        if row == self.at:
            self._print(new)
            while self.texts[self.at].end:
                print()
                self.at, self.begun = self.at + 1, False
                if self.at == len(self.texts):
                    return
                self._print(self.texts[self.at].text)

    def _print(self, new: str) -> None:
        if not self.begun:
            self.begun = True
            if len(self.texts) > 1:
                print(f"--- {self.at + 1} of {len(self.texts)}")
            if self.prompts:
                _dim(self.clean(self.texts[self.at].prompt))
        print(self.clean(new), end="", flush=True)


def _dim(prompt: str) -> None:
    """Print a prompt so that a terminal tells it from what follows."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(prompt, style="dim", markup=False, emoji=False, end="")
    else:
        print(prompt, end="")


def as_json(text: Text, step: int) -> str:
    """Return a text as a line for programs."""
    found = {
        "step": step,
        "prompt": text.prompt,
        "text": text.text,
        "tokens": text.tokens,
        "end": text.end,
    }
    return json.dumps(found)
