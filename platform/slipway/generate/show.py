"""Texts printed as they grow, one after the other, however many the model makes at once."""

import json
import sys
from collections.abc import Sequence

from slipway.data.text.vocabulary import Unfolding, Vocabulary
from slipway.models.generation import Said

_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
_CONTROL |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def visible(text: str) -> str:
    """Return the text with symbols in place of control characters, so that it cannot steer a terminal."""
    return text.translate(_CONTROL)


class Text:
    """A prompt and its continuation."""

    def __init__(self, prompt: str, vocabulary: Vocabulary, read: Sequence[int]) -> None:
        """Begin with a prompt, of which `read` holds the tokens."""
        self.prompt, self.vocabulary = prompt, vocabulary
        self.unfolding = Unfolding(vocabulary, read)
        self.tokens: list[int] = []
        self.text = ""
        self.end = ""
        """Why the text ended: `document` after an end mark, `tokens` or `positions` if none are left; empty before."""

    def add(self, said: Said, asked: int) -> str:
        """Add a token and return the text that is new. asked: how many tokens were asked for."""
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
    """Prints the first text while it grows, and each other one when those before it have ended."""

    def __init__(self, texts: Sequence[Text], prompts: bool = True) -> None:
        """Take the texts to print. prompts: print the prompts, too."""
        self.texts, self.prompts = texts, prompts
        self.at = 0
        self.begun = False
        self.clean = visible if sys.stdout.isatty() else str

    def show(self, row: int, new: str) -> None:
        """Print `new`, by which text `row` has grown, if it is that text's turn; then the texts that may follow."""
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
    """Print a prompt, dimmed on a terminal to tell it from what follows."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(prompt, style="dim", markup=False, emoji=False, end="")
    else:
        print(prompt, end="")


def as_json(text: Text, step: int) -> str:
    """Return a text as one line of JSON."""
    found = {
        "step": step,
        "prompt": text.prompt,
        "text": text.text,
        "tokens": text.tokens,
        "end": text.end,
    }
    return json.dumps(found)
