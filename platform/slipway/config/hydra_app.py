"""Hydra's own application around a task: overrides, sweeps, --cfg, --info. Hydra itself writes nothing."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from slipway import secrets
from slipway.arguments import refusal
from slipway.config import budget, stand_in
from slipway.config.compose import CONFIG_NAME, VERSION_BASE, compose, composed, conf_dir, validate
from slipway.config.explain import MUST_BE_CHOSEN, CompositionErrors, explain
from slipway.config.quotes import check_key
from slipway.config.yaml_numbers import times_are_text
from slipway.errors import EXIT_DONE, EXIT_USER_ERROR, UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from slipway.config.schema import RunConfig

Task = Callable[["RunConfig"], int]


def run(words: Sequence[str], task: Task, *, trains: bool = True) -> int:
    """Run `task` on the configuration that the command line composes, or do what Hydra's options ask.

    Return the exit code.

    Args:
        words: The command line without the verb and its own options.
        task: Called once, or once per job of a sweep. Returns an exit code.
        trains: Whether the configuration is for training; else the group `data` may be left open.
    """
    try:
        return _run(words, task)
    except UserError as error:
        if trains or error.problem != MUST_BE_CHOSEN or error.path != stand_in.GROUP:
            raise
        said = parse(options_first(words))
        return _run([*words, stand_in.stand_in(budget.alone(said.overrides), said.config_dir)], task)


def _run(words: Sequence[str], task: Task) -> int:
    words = budget.alone(options_first(words))
    arguments = parse(words)
    if arguments.multirun:
        from slipway.config.sweep import Sweep

        sweep = Sweep(task, arguments.overrides)
        with tempfile.TemporaryDirectory(prefix="slipway-sweep-") as folder:
            # Hydra keeps a record of every sweep; ours are the run directories.
            kept = any(word.startswith("hydra.sweep.dir=") for word in arguments.overrides)
            _call_hydra([*words, *([] if kept else [f"hydra.sweep.dir='{folder}'"])], sweep.job)
        return sweep.finish()

    if _overrides_alone(words, arguments.overrides):
        return task(compose(words))
    if arguments.cfg or arguments.info:
        _check_shown(arguments)
    outcome: list[int | Exception | SystemExit] = []

    def job(found: "DictConfig") -> None:
        # Hydra prints and wraps what a job raises: carry it past Hydra instead.
        try:
            outcome.append(task(validate(found)))
        except (Exception, SystemExit) as error:
            outcome.append(error)

    try:
        _call_hydra(words, job)
    except SystemExit as leaving:  # after --hydra-help, or a wrong --package, reported on stderr
        return EXIT_USER_ERROR if leaving.code else EXIT_DONE
    if not outcome:
        return EXIT_DONE  # --cfg, --info and the like
    if isinstance(outcome[0], int):
        return outcome[0]
    raise outcome[0]


def _overrides_alone(words: Sequence[str], overrides: Sequence[str]) -> bool:
    """Return whether the command line has no options for Hydra itself.

    Hydra's application composes twice: once to see whether it is a sweep.
    """
    return list(words) == list(overrides) and not any("hydra" in word for word in words)


def _check_shown(arguments: Any) -> None:
    """Refuse a secret in a configuration that Hydra prints itself, unchecked. Raises UserError."""
    from omegaconf import OmegaConf

    folder = Path(arguments.config_dir) if arguments.config_dir else None
    try:
        plain = OmegaConf.to_container(composed(arguments.overrides, folder), resolve=arguments.resolve)
    except CompositionErrors():
        return  # Hydra reports what is wrong with it
    secrets.check_plain(plain, os.environ)


def options_first(words: Sequence[str]) -> list[str]:
    """Return the words with Hydra's options in front: its parser accepts none between overrides."""
    from hydra._internal.utils import get_args_parser

    takes = {
        name: action.nargs != 0 for action in get_args_parser()._actions for name in action.option_strings
    }
    options, overrides = [], []
    rest = iter(words)
    for word in rest:
        if word.partition("=")[0] not in takes:
            overrides.append(word)
            continue
        options.append(word)
        if takes.get(word):  # its value is the next word
            options.append(next(rest, ""))
    return [*options, *overrides]


def parse(words: Sequence[str]):  # noqa: ANN201
    """Parse Hydra's own options and the overrides, and return them. Raises UserError if Hydra cannot read them."""
    from hydra._internal.utils import get_args_parser

    times_are_text()
    parser = get_args_parser()

    def error(message: str) -> NoReturn:
        raise refusal("", message)

    parser.error = error  # type: ignore[method-assign]
    parsed = parser.parse_args(list(words))
    for word in parsed.overrides:
        check_key(word)
    if parsed.config_dir == "":  # Hydra would treat it as absent
        raise UserError("--config-dir", "is empty", do="give a directory, or omit the option")
    return parsed


def _call_hydra(words: Sequence[str], job: Callable[["DictConfig"], None]) -> None:
    import hydra

    kept_argv, sys.argv = sys.argv, ["slipway", *words]
    kept_full, os.environ["HYDRA_FULL_ERROR"] = os.environ.get("HYDRA_FULL_ERROR"), "1"  # raise, do not print
    try:
        hydra.main(version_base=VERSION_BASE, config_path=str(conf_dir()), config_name=CONFIG_NAME)(job)()
    except UserError:
        raise
    except CompositionErrors() as error:
        raise explain(error) from error
    finally:
        sys.argv = kept_argv
        if kept_full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = kept_full
