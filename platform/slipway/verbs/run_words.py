"""The words of verbs that take a run as it was trained: `run.dir=DIR` and a verb's own `NAME=VALUE`."""

import argparse
import re
from pathlib import Path

from slipway.errors import UserError
from slipway.verbs.declare import Option, Verb

RUN_DIR = "run.dir"
_OVERRIDE = re.compile(r"(\+{0,2}[A-Za-z_][\w./@:-]*)=|~[A-Za-z_][\w./@:-]*")


def is_override(word: str) -> bool:
    """Return whether a word sets or deletes a key, as in Hydra: it is neither a path nor text."""
    return _OVERRIDE.match(word) is not None


def take(name: str, verb: Verb, options: argparse.Namespace) -> None:
    """Sort `options.words` into `run_dir`, the verb's own arguments and its argument.

    name: the command's, for messages. Raises UserError if a word would have no effect, or if the run is not named.
    """
    own = {option.name: option for option in verb.options if option.is_word}
    is_text = verb.argument is not None and verb.argument.text
    given: dict[str, str] = {}
    rest = []
    for word in options.words:
        key, equals, value = word.partition("=")
        is_own = bool(equals) and (key == RUN_DIR or f"{key}=" in own)
        if not is_override(word) or (is_text and not is_own):
            rest.append(word)
        elif is_own:
            if not value:
                raise UserError(key, "is empty", value=word, do="give it a value")
            if key in given:
                raise UserError(key, "is given twice", value=value, do="give it once")
            given[key] = value
        else:
            raise UserError(
                key,
                f"has no effect on `{name}`, which uses the configuration that the run was trained with",
                value=value,
                do=f"omit it; {RUN_DIR}=DIR is sufficient",
            )
    if RUN_DIR not in given:
        raise UserError(RUN_DIR, f"is missing: `{name}` needs to know which run", use=f"{RUN_DIR}=DIR")
    options.run_dir = Path(given[RUN_DIR])
    for option in own.values():
        value = given.get(option.name.rstrip("="))
        setattr(options, option.key, option.default if value is None else _read(name, option, value))
    delattr(options, "words")
    setattr(options, verb.argument.key if verb.argument else "words", rest)


def _read(name: str, option: Option, text: str) -> object:
    try:
        return option.read(text)
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise UserError(f"{name} {option.name}", str(error), value=text) from None
