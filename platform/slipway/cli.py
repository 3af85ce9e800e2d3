"""`slipway VERB [options] [Hydra overrides]`: the entry point. Imports nothing heavy before it is needed."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from slipway import __version__, console, secrets, system_errors
from slipway.errors import (
    EXIT_CONTINUE,
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    Fault,
    Stopped,
    UserError,
)
from slipway.quiet import hush_libraries
from slipway.ranks import signals
from slipway.secrets import in_one_line
from slipway.verbs import help
from slipway.verbs.configured import GENERAL, HYDRA
from slipway.verbs.parse import check_options, names, parse, plain_words
from slipway.verbs.table import VERBS

# Options that ask about the configuration, or about Hydra, and need no verb.
_ASKING = tuple(
    spelling for option in (*HYDRA, *GENERAL) if option.effect == "answers" for spelling in names(option)
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit code. argv: None if this is the whole program.

    0: done; 1: fault; 2: the user's mistake, reported in one line on stderr, nothing written; 75: stopped, run the same
    command to resume; 130: Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    hush_libraries()
    if argv is not None:
        return _run(words)
    if words[:1] == ["train"]:
        signals.begin()
    console.take_over()
    try:
        return _run(words)
    finally:
        if words[:1] == ["train"]:
            signals.ignore()
        console.for_people()  # what could not be printed is not tried again while Python exits


def _run(words: list[str]) -> int:
    try:
        _check_text(words)
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _report(error, EXIT_USER_ERROR)
    except Fault as error:
        return _report(error, EXIT_FAULT)
    except Stopped as error:
        return _report(error, EXIT_CONTINUE)
    except SystemExit as leaving:  # argparse and Hydra exit in this way after they have said why
        return leaving.code if isinstance(leaving.code, int) else EXIT_DONE
    except KeyboardInterrupt:
        return _report("interrupted", EXIT_INTERRUPTED)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename in (None, console.OUTPUT):
            return EXIT_FAULT  # the reader has closed the pipe
        return _report(
            system_errors.explained(error), EXIT_USER_ERROR if system_errors.is_users(error) else EXIT_FAULT
        )
    except ImportError as error:  # Python takes an unreadable module for a missing one
        return _report(f"{error}: this installation is incomplete, or cannot be read", EXIT_FAULT)
    except MemoryError:
        return _report("no memory left on this machine, or in this job's share of it", EXIT_FAULT)


def _report(error: BaseException | str, code: int) -> int:
    print(f"slipway: {in_one_line(error)}", file=sys.stderr)
    return code


def _check_text(words: Sequence[str]) -> None:
    """Check that all words are valid UTF-8: names go into scripts and records, which are. Raises UserError."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UserError(
                repr(os.fsencode(word))[2:-1],
                "is not valid UTF-8, which names in scripts and records must be",
                do="rename it, or set LC_ALL=C.UTF-8 if it is UTF-8",
            ) from None


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(help.general())
        return EXIT_DONE
    if "--version" in words:
        print(f"slipway {__version__}")
        return EXIT_DONE
    if not any(word in ("-sc", "--shell-completion") for word in words):
        secrets.check_words(words, os.environ)
    verb, rest = words[0], words[1:]
    if verb.startswith("-") and any(word.split("=")[0] in _ASKING for word in words):
        return _ask(words)
    if verb not in VERBS:
        raise _unknown_verb(verb)
    if "--help" in rest or "-h" in rest or (not rest and verb in ("bench", "image")):
        return _help(verb, rest)
    parsed = parse(verb, rest)
    if parsed.acts:
        console.for_people()
    if VERBS[verb].takes == "configuration":
        return _configured(verb, parsed.options, parsed.overrides)
    return _command(verb).run(parsed.options)


def _help(verb: str, words: list[str]) -> int:
    action = next((word for _, word in plain_words(words, VERBS[verb])), None)
    print(help.of_action(verb, action) if action and action in VERBS[verb].actions else help.of_verb(verb))
    return EXIT_DONE


def _configured(verb: str, options: argparse.Namespace, overrides: list[str]) -> int:
    """Run a verb on the configuration that a file holds or that the overrides compose. Return the exit code."""
    # A dry run shows the plan, which is what would be trained, and writes nothing.
    command = "plan" if getattr(options, "dry_run", False) else verb
    if getattr(options, "plan", None) is not None:
        return _command(command).run_file(options.plan, overrides, options)
    if verb == "launch" and options.evaluate is not None:
        from slipway.launch.evaluation import words_of

        parse("evaluate", ["run", *words_of(options)])  # a mistake is reported here, not by a job
    if verb in (
        "launch",
        "import",
    ):  # one composes all jobs of a sweep at once, the other may derive the model
        return _command(verb).run_words(overrides, options)
    if verb == "plan" and options.action == "search":  # it composes a range of devices itself
        return _command("plan.search").run_words(overrides, options)

    from slipway.config.hydra_app import run

    return run(overrides, lambda config: _command(command).run(config, options), trains=verb != "plan")


def _command(verb: str):  # noqa: ANN202
    described = VERBS.get(verb)
    return import_module(f"slipway.{(described and described.module) or f'{verb}.command'}")


def _ask(words: list[str]) -> int:
    from slipway.config.hydra_app import run

    if "-sc" in words or "--shell-completion" in words:
        from slipway.verbs.completion import complete

        return complete(words, lambda rest: run(rest, lambda config: EXIT_DONE))

    def no_verb(config: object) -> NoReturn:
        raise _unknown_verb(words[0])

    check_options("slipway", words, (*GENERAL, *HYDRA))
    return run(words, no_verb)


def _unknown_verb(word: str) -> UserError:
    from slipway.config.explain import nearest

    if "=" in word or word.startswith(("-", "+", "~")):
        return UserError(
            word, f"a verb comes first (verbs: {', '.join(VERBS)})", use=f"`slipway VERB {word}`"
        )
    return UserError(word, "no such verb", do=nearest(word, VERBS))
