"""`slipway generate run.dir=DIR TEXT`: let the model of a checkpoint continue a text."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slipway import models
from slipway.checkpoint import store
from slipway.checkpoint.manifest import Damaged
from slipway.config.schema import RunConfig
from slipway.data.text.vocabulary import check_trained_with, vocabulary_of
from slipway.errors import EXIT_DONE, UserError
from slipway.generate import request
from slipway.generate.chat import Chat, chat_of
from slipway.generate.show import Terminal, as_json
from slipway.generate.speaker import Speaker
from slipway.runs import chosen
from slipway.runs.alone import alone, world

if TYPE_CHECKING:
    import torch

    from slipway.models.text import TextModel

SMALL = 30_000_000
"""Parameters that one core reads in some milliseconds."""


def run(options: argparse.Namespace) -> int:
    """Continue each text, or each line that is typed if none is given. Returns the exit code."""
    way = request.way(options.tokens, options.temperature, options.top_p, options.top_k, options.seed)
    texts = _texts(options.texts, options.json)
    config = chosen.trained(options.run_dir)
    family = models.text_of(config)
    reach, vocabulary = family.reach(config), vocabulary_of(config)
    chat = chat_of(config, vocabulary) if options.chat else None
    prompts = [
        chat.say("user", text).prompt(reach) if chat else request.prompt_of(text, vocabulary, reach)
        for text in texts
    ]
    path, info = chosen.checkpoint(config, options.step, "generate")
    check_trained_with(vocabulary, info.data)
    with _loaded(alone(config, options.device), path) as model:
        request.check_entries(vocabulary, model.vocab_size)
        speaker = Speaker(model, vocabulary, reach, way)
        if not texts:
            _converse(speaker, chat)
        elif options.json:
            for text in speaker.say(texts, prompts):
                print(as_json(text, info.step), flush=True)
        else:
            speaker.say([f"{text}\n" for text in texts] if chat else texts, prompts, Terminal)
    return EXIT_DONE


def _texts(words: list[str], as_json: bool) -> list[str]:
    """Return the texts of the command line; `-` stands for standard input without its last line feed.

    An empty list means that texts are typed. Raises UserError if `-` is given twice, or no text is given and nobody can
    type one.
    """
    if words.count("-") > 1:
        raise UserError(
            "generate -", "is given twice, but standard input can be read only once", do="give it once"
        )
    if not words and (as_json or not sys.stdin.isatty()):
        raise UserError("generate", "needs a text", use="'TEXT', several of them, or - for standard input")
    return [_from_stdin() if word == "-" else word for word in words]


def _from_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UserError("generate -", f"is not UTF-8: {error}", do="convert the text to UTF-8") from None


@contextmanager
def _loaded(config: RunConfig, path: Path) -> Iterator["TextModel"]:
    """Yield the model of a checkpoint, and report on stderr what takes time. Raises UserError if it is damaged."""
    begun = time.monotonic()
    _say(f"loading torch and the engine for {config.cluster.device.kind}")
    with world(config) as here:
        _say(f"reading step {store.step_of(path):,} of {config.run.dir}")
        try:
            module = here.trained(path)
        except Damaged as error:
            raise UserError(path, f"is damaged: {error}", do="choose another --step") from None
        _share_cores(module)
        _say(f"ready after {time.monotonic() - begun:.1f} s ({here.plan.config.training.precision})")
        yield models.text_of(config).model(config, module, here.device)


def _share_cores(module: "torch.nn.Module") -> None:
    """Restrict a small model to one thread.

    Several threads would wait for each other longer than they compute, and the more so the busier the machine.
    """
    import torch

    if sum(parameter.numel() for parameter in module.parameters()) < SMALL:
        torch.set_num_threads(1)


def _say(what: str) -> None:
    print(f"generate: {what}", file=sys.stderr, flush=True)


def _converse(speaker: Speaker, chat: Chat | None) -> None:
    """Continue each line that is typed, until the input ends. Ctrl-C ends a text, and at the prompt everything.

    chat: the lines are a user's messages, and the model sees the turns before; a turn that Ctrl-C ended is not among
    them.
    """
    import readline  # noqa: F401 (input() edits lines with it)

    _say("type a text and Enter; Ctrl-C ends what is said, Ctrl-D all")
    while True:
        try:
            line = input("> ")
        except EOFError:
            print()
            return
        try:
            if chat is None:
                prompt = request.prompt_of(line, speaker.vocabulary, speaker.reach)
                speaker.say([line], [prompt], Terminal)
                continue
            asked = chat.say("user", line)
            [answer] = speaker.say([""], [asked.prompt(speaker.reach)], Terminal)
            chat = asked.say("assistant", answer.text) if answer.text.strip() else chat
        except UserError as error:
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            print()
