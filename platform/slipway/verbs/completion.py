"""Shell completion: verbs, actions and options from the table, then Hydra's groups and keys."""

import os
from collections.abc import Callable, Sequence

from slipway.config.compose import conf_dir
from slipway.errors import EXIT_DONE
from slipway.verbs import run_words
from slipway.verbs.configured import GENERAL, HELP, HYDRA
from slipway.verbs.declare import Verb
from slipway.verbs.help import groups_of
from slipway.verbs.parse import names, plain_words
from slipway.verbs.table import VERBS

ANY_DATA = "data=stdlib"


def complete(words: Sequence[str], ask_hydra: Callable[[Sequence[str]], int]) -> int:
    """Answer `slipway -sc install|uninstall|query=SHELL`; the line to complete is in COMP_LINE. Return the exit code.

    Args:
        words: The command line.
        ask_hydra: Passes it on to Hydra, which knows groups and keys.
    """
    query = next((word for word in words if word.startswith("query=")), None)
    if query is not None:
        line = os.environ.get("COMP_LINE", "")
        choices = own_choices(line)
        if choices is not None:
            print(("\n" if query == "query=fish" else " ").join(choices))
            return EXIT_DONE
        os.environ["COMP_LINE"] = with_data(without_verb(line))
    return ask_hydra(words)


def own_choices(line: str) -> list[str] | None:
    """Return completions of verbs, actions, options and their values for a command line; None: leave it to Hydra."""
    words = line.split()
    word = "" if line.endswith(" ") or not words else words[-1]
    before = words[1:] if not word else words[1:-1]
    found = _candidates(before, word)
    return None if found is None else [choice for choice in found if choice.startswith(word)]


def _candidates(before: Sequence[str], word: str) -> list[str] | None:
    """Return what may follow the words `before` if the next word begins like `word`; None to leave it to Hydra."""
    dash = word.startswith("-")
    if not before:
        return [option.name for option in GENERAL] if dash else list(VERBS)
    verb = VERBS.get(before[0])
    if verb is None:
        return []
    chosen, at = _action(verb, before[1:])
    options = [*chosen.options, *(HYDRA if verb.takes == "configuration" else ()), HELP]
    for option in options:
        if option.value and before[-1] in names(option):
            return list(option.choices)
    own = [option.name for option in options] + (["run.dir="] if verb.takes == "run" else [])
    if dash:
        return own
    if verb.actions and not at:
        if verb.alone and verb.takes:  # overrides may stand in an action's place, and Hydra completes those
            begun = word and not any(plain_words(before[1:], verb))
            return list(verb.actions) if begun and any(one.startswith(word) for one in verb.actions) else None
        return [*verb.actions, *(own if verb.alone else [])]
    if chosen.argument and chosen.argument.group:
        return [*groups_of(conf_dir())[chosen.argument.group], *own]
    if verb.takes == "run" or chosen.takes == "run":
        return own
    return None if verb.takes or chosen.takes or (chosen.argument and chosen.argument.most is None) else own


def _action(verb: Verb, words: Sequence[str]) -> tuple[Verb, bool]:
    """Return the action that the words name, or else the verb itself, and whether the action is settled."""
    for _, word in plain_words(words, verb):
        if word in verb.actions:
            return verb.actions[word], True
        break
    return verb, not verb.actions


def with_data(line: str) -> str:
    """Return the line with a choice of data if it has none: Hydra completes keys only in a whole configuration."""
    program, *words = line.split(" ")
    return line if any(word.startswith("data=") for word in words) else " ".join([program, ANY_DATA, *words])


def without_verb(line: str) -> str:
    """Return the line in the form that Hydra's completion understands: no verb, no action, no options."""
    program, verb, *words = line.split()
    described = VERBS[verb]
    plain = [word for _, word in plain_words(words, described._replace(options=(*described.options, *HYDRA)))]
    tail = " " if line.endswith(" ") else ""
    kept = plain
    if described.actions and plain and plain[0] in described.actions:
        kept = plain[1:]
        if described.actions[plain[0]].argument:
            typed = kept if tail else kept[:-1]
            argument = next((word for word in typed if not run_words.is_override(word)), None)
            kept = [word for word in kept if word != argument]
    return " ".join([program, *kept]) + (tail or ("" if kept else " "))
