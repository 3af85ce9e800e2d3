"""`slipway VERB [options] [Hydra overrides]`: the way in. Imports nothing heavy before it is needed."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from slipway import __version__, secrets, usage
from slipway.arguments import Parser
from slipway.errors import EXIT_DONE, EXIT_FAULT, EXIT_USER_ERROR, Fault, UserError, in_one_line

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

# Hydra's options that ask about the configuration and need no verb.
_ASKING = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code.

    0: done; 1: fault; 2: the user's mistake, told in one line on stderr, nothing written; 130: Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"slipway: {in_one_line(error)}", file=sys.stderr)
        return EXIT_USER_ERROR
    except Fault as error:
        print(f"slipway: {in_one_line(error)}", file=sys.stderr)
        return EXIT_FAULT
    except SystemExit as leaving:  # argparse and Hydra leave so, having said why
        return leaving.code if isinstance(leaving.code, int) else EXIT_DONE
    except KeyboardInterrupt:
        print("slipway: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away. Python would complain once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAULT


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
    if verb == "train" and options.plan is not None and options.run is not None:
        raise UserError("train: --plan and --run are two ways to say the same; give one")
    if verb == "train" and options.plan is not None:
        if overrides:
            raise UserError(f"train --plan: a plan takes no overrides, got {' '.join(overrides)}")
        if options.dry_run:
            return _command("plan").run_file(options.plan)
        return _command("train").run_file(options.plan)

    if verb == "train" and options.run is not None:
        from slipway.config import run_file

        return _command("plan" if options.dry_run else "train").run(run_file.read(options.run, overrides))
    if verb == "doctor" and options.run is not None:
        from slipway.config import run_file

        return _command("doctor").run(run_file.read(options.run, overrides), options)

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
        return UserError(f"{word}: a verb comes first: slipway VERB {word} (verbs: {', '.join(usage.VERBS)})")
    return UserError(f"{word}: no such verb{nearest(word, usage.VERBS)}")


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
        add("--run", type=Path)
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
        add("--run", type=Path)
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
