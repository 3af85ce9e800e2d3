"""Parsing of a command line: the verb, its action, its options and what is left for Hydra."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from slipway.arguments import Parser
from slipway.errors import UserError
from slipway.verbs import run_words
from slipway.verbs.configured import GENERAL, HELP, HYDRA
from slipway.verbs.declare import Option, Verb
from slipway.verbs.table import VERBS


class Parsed(NamedTuple):
    """A parsed command line."""

    options: argparse.Namespace
    """The values of the options and of the argument; `action`, if the verb has any; `argv`, the words themselves."""
    overrides: list[str]
    """Words for Hydra, including its own options; empty if the verb takes no configuration."""
    acts: bool
    """Whether the command does something, so that its work counts more than what it prints."""


def parse(verb: str, words: Sequence[str]) -> Parsed:
    """Parse the words after a verb, and return what they say. Raises UserError."""
    name, described, rest = select(verb, words)
    parser = parser_of(name, described)
    if described.takes == "configuration":
        options, left = parser.parse_known_args(rest)
        check_options(name, left, (*described.options, *HYDRA), verb)
        if described.argument:
            left = _take_argument(name, described, options, left)
    elif described.takes == "run":
        options, left = parser.parse_known_intermixed_args(rest)
        check_options(name, left, described.options, verb)
        run_words.take(name, described, options)
        _check_argument(name, described, options)
    else:
        options, left = parser.parse_known_intermixed_args(rest)
        check_options(name, left, described.options, verb)
        _check_argument(name, described, options)
    options.action = name.removeprefix(verb).strip() or None
    options.argv = rest
    return Parsed(options, left, _acts(described, rest))


def select(verb: str, words: Sequence[str]) -> tuple[str, Verb, list[str]]:
    """Return what is asked for: its full name (`image build`), its description, and the words without the action.

    Raises UserError if the verb needs an action, and none or an unknown one is named.
    """
    described, rest = VERBS[verb], list(words)
    if not described.actions:
        return verb, described, rest
    position = next((at for at, _ in plain_words(rest, described)), None)
    if described.alone and (
        position is None or (described.takes and rest[position] not in described.actions)
    ):
        return verb, described, rest
    if position is None:
        raise UserError(verb, "needs an action", use=", ".join(described.actions))
    action = rest.pop(position)
    if action not in described.actions:
        from slipway.config.explain import nearest

        raise UserError(f"{verb} {action}", "no such action", do=nearest(action, described.actions))
    chosen = described.actions[action]
    return f"{verb} {action}", chosen._replace(takes=described.takes or chosen.takes), rest


def plain_words(words: Sequence[str], verb: Verb) -> Iterable[tuple[int, str]]:
    """Yield the words, with their positions, that are neither options of the verb and its actions nor their values."""
    everything = [*verb.options, *(option for action in verb.actions.values() for option in action.options)]
    valued = {name for option in everything if option.value for name in names(option)}
    beginnings = tuple(option.name for option in everything if option.is_word)
    skip = False
    for position, word in enumerate(words):
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in valued
        elif not word.startswith(beginnings or ("=",)):
            yield position, word


def names(option: Option) -> list[str]:
    """Return the spellings of an option."""
    return [option.name, *([option.short] if option.short else [])]


def parser_of(name: str, verb: Verb) -> Parser:
    """Return an argparse parser of exactly the options and the argument that the table declares."""
    parser = Parser(prog=name, add_help=False, allow_abbrev=False)
    for option in verb.options:
        if option.is_word:
            continue
        more: dict[str, Any] = {"action": "store_true"}
        if option.value:
            more = {"type": option.read, "default": option.default, "choices": option.choices or None}
        if option.many:
            more["action"] = "extend"
        parser.add_argument(*names(option), dest=option.key, **more)
    if verb.takes != "configuration":
        key = verb.argument.key if verb.argument and verb.takes != "run" else "words"
        parser.add_argument(key, nargs="*", default=[])
    return parser


def check_options(name: str, words: Iterable[str], options: Iterable[Option], verb: str = "") -> None:
    """Raise UserError if one of the words is an option that is not among these.

    Args:
        name: The command's name, for the message.
        words: What the command's own parser left over.
        options: The options that may be among them.
        verb: The verb among whose actions to look for one that takes the option instead.
    """
    known = {spelling for option in (*options, HELP) for spelling in names(option)}
    for word in words:
        option = word.partition("=")[0]
        if not word.startswith("-") or option in known:
            continue
        takers = [
            f"`{verb} {action}`"
            for action, described in (VERBS[verb].actions if verb else {}).items()
            if any(option in names(one) for one in described.options)
        ]
        if takers:
            raise UserError(f"{name} {option}", "no such option here", use=f"it with {' or '.join(takers)}")
        from slipway.config.explain import nearest

        long = [spelling for spelling in known if spelling.startswith("--")]
        raise UserError(f"{name} {option}", "no such option", do=nearest(option, long))


def _take_argument(name: str, verb: Verb, options: argparse.Namespace, words: Sequence[str]) -> list[str]:
    """Set the argument to the first word that is no override; return the other words."""
    assert verb.argument
    plain = plain_words(words, verb._replace(options=(*verb.options, *HYDRA)))
    position = next((at for at, word in plain if not run_words.is_override(word)), None)
    setattr(options, verb.argument.key, [] if position is None else [words[position]])
    _check_argument(name, verb, options)
    return [word for at, word in enumerate(words) if at != position]


def _check_argument(name: str, verb: Verb, options: argparse.Namespace) -> None:
    """Raise UserError if the words are too few or too many; a single word is not kept as a list."""
    argument = verb.argument
    given = getattr(options, argument.key if argument else "words")
    if argument is None:
        if given:
            raise UserError(name, "is an argument, and only options are taken", value=given[0], do="omit it")
        delattr(options, "words")
        return
    if len(given) < argument.least or len(given) > (argument.most or len(given)):
        wanted = f"one {argument.shown}" + ("" if argument.least else ", or none")
        if argument.most is None:
            raise UserError(name, f"takes one name or more, got {len(given)}", use=wanted)
        raise UserError(name, f"takes one name, got {len(given)}", use=wanted)
    if argument.most == 1:
        setattr(options, argument.key, given[0] if given else None)


def _acts(verb: Verb, words: Iterable[str]) -> bool:
    """Return whether the command does something: by its verb, unless one of its options makes it an answer."""
    hydra = HYDRA if verb.takes == "configuration" else ()
    given = {word.partition("=")[0] for word in words}
    effects = {
        option.effect for option in (*verb.options, *hydra, *GENERAL) if given.intersection(names(option))
    }
    return (verb.acts or "acts" in effects) and "answers" not in effects
