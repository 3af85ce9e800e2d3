"""`slipway VERB [options] [Hydra overrides]`: the way in. Imports nothing heavy before it is needed."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from slipway import __version__, console, secrets, system_errors, usage
from slipway.arguments import Parser
from slipway.errors import (
    EXIT_CONTINUE,
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_USER_ERROR,
    Fault,
    Stopped,
    UserError,
)
from slipway.quiet import hush_libraries
from slipway.ranks import signals
from slipway.secrets import in_one_line

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

# Hydra's options that ask about the configuration and need no verb.
_ASKING = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code. argv: None where this is the whole program.

    0: done; 1: fault; 2: the user's mistake, told in one line on stderr, nothing written; 75: stopped, the same
    command continues; 130: Ctrl-C.
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
        if _acts(words):
            console.for_people()
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _tell(error, EXIT_USER_ERROR)
    except Fault as error:
        return _tell(error, EXIT_FAULT)
    except Stopped as error:
        return _tell(error, EXIT_CONTINUE)
    except SystemExit as leaving:  # argparse and Hydra leave so, having said why
        return leaving.code if isinstance(leaving.code, int) else EXIT_DONE
    except KeyboardInterrupt:
        return _tell("interrupted", EXIT_INTERRUPTED)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename in (None, console.OUTPUT):
            return EXIT_FAULT  # who reads has had enough
        return _tell(
            system_errors.explained(error), EXIT_USER_ERROR if system_errors.is_users(error) else EXIT_FAULT
        )
    except ImportError as error:  # what cannot be read is for Python not there
        return _tell(f"{error}: this installation is incomplete, or cannot be read", EXIT_FAULT)
    except MemoryError:
        return _tell("no memory left on this machine, or in this job's share of it", EXIT_FAULT)


def _tell(error: BaseException | str, code: int) -> int:
    print(f"slipway: {in_one_line(error)}", file=sys.stderr)
    return code


def _check_text(words: Sequence[str]) -> None:
    """Names go into scripts and records, which are UTF-8. Raises UserError."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UserError(
                repr(os.fsencode(word))[2:-1],
                "is not valid UTF-8, which names in scripts and records must be",
                do="rename it, or set LC_ALL=C.UTF-8 if it is UTF-8",
            ) from None


def _acts(words: Sequence[str]) -> bool:
    """Whether the command does something, and what it prints is for people; else the output is what was asked for."""
    verb, rest = (words[0], words[1:]) if words else ("", words)
    if any(word.split("=")[0] in (*_ASKING, "--help", "-h", "--dry-run", "--json") for word in rest):
        return False
    if verb == "doctor":
        return "--bad-nodes" not in rest
    if verb == "launch":
        return "--submit" in rest
    if verb == "runs":
        return rest[:1] in (["cancel"], ["sync"])
    if verb == "image":
        return rest[:1] in (["build"], ["sif"], ["test"], ["sbom"], ["sign"])
    return verb in ("train", "data", "bench")


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(usage.general())
        return EXIT_DONE
    if "--version" in words:
        print(f"slipway {__version__}")
        return EXIT_DONE
    if not any(word in ("-sc", "--shell-completion") for word in words):
        secrets.check_words(words, os.environ)
    verb, rest = words[0], words[1:]
    if verb.startswith("-") and any(word.split("=")[0] in _ASKING for word in words):
        return _ask(words)
    if verb not in usage.VERBS:
        raise _unknown_verb(verb)
    if verb in ("bench", "clusters", "image", "runs"):  # they take no configuration
        return _command(verb).main(rest)
    if "--help" in rest or "-h" in rest:
        print(usage.of_verb(verb))
        return EXIT_DONE
    options, overrides = _verb_options(verb, rest)
    if verb == "train" and options.plan is not None:
        return _command("plan" if options.dry_run else "train").run_file(options.plan, overrides)
    if verb == "doctor" and options.plan is not None:
        from slipway.plan import plan_file

        return _command("doctor").run(plan_file.read_config(options.plan, overrides), options)

    if verb == "launch":
        return _command("launch").run_words(overrides, options)

    from slipway.config.hydra_app import run

    # What would be trained is the plan, and showing it writes nothing.
    command = "plan" if getattr(options, "dry_run", False) else verb
    return run(overrides, lambda config: _command(command).run(config, options))


def _command(verb: str):  # noqa: ANN202
    return import_module(f"slipway.{verb}.command")


def _ask(words: list[str]) -> int:
    if "-sc" in words or "--shell-completion" in words:
        from slipway.completion import complete

        return complete(words)
    from slipway.config.hydra_app import run

    def no_verb(config: object) -> NoReturn:
        raise _unknown_verb(words[0])

    return run(words, no_verb)


def _unknown_verb(word: str) -> UserError:
    from slipway.config.explain import nearest

    if "=" in word or word.startswith(("-", "+", "~")):
        return UserError(
            word, f"a verb comes first (verbs: {', '.join(usage.VERBS)})", use=f"`slipway VERB {word}`"
        )
    return UserError(word, "no such verb", do=nearest(word, usage.VERBS))


def _verb_options(verb: str, words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The verb's own options, and what is left for Hydra."""
    parser = Parser(prog=verb, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    if verb == "plan":
        add("--json", action="store_true")
        add("--ranks", type=_rank_count, default=32)
    if verb == "kernels":
        add("--json", action="store_true")
    if verb == "doctor":
        add("--plan", type=Path)
        add("--collectives", action="store_true")
        add("--json", action="store_true")
        add("--bad-nodes", action="store_true")
        add("--timeout", type=_seconds, default=180.0)
        add("--root", type=Path)
    if verb == "checkpoint":
        add("action", choices=("list", "verify", "show"))
        add("--step", type=int)
        add("--json", action="store_true")
    if verb == "train":
        add("--plan", type=Path)
        add("--dry-run", action="store_true")
    if verb == "launch":
        add("--submit", action="store_true")
        add("--chain", type=int)
        add("--preflight", action="store_true")
    return parser.parse_known_args(words)


def _seconds(text: str) -> float:
    try:
        if 0 < float(text) < 86400:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def _rank_count(text: str) -> int | None:
    if text == "all":
        return None
    if text.isdecimal() and int(text) >= 2:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither `all` nor a number from 2")
