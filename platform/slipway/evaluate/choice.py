"""The measurements that a command line asks for, among those that the run's family and kind of data support."""

import argparse
from collections.abc import Sequence

from slipway.config.schema import RunConfig
from slipway.data.held_out import Wanted
from slipway.errors import UserError
from slipway.evaluate.loss import Loss
from slipway.evaluate.measurement import Measurement
from slipway.evaluate.own import Own
from slipway.models import evaluation_of, held_out
from slipway.registry import FAMILIES

TEXT = ("files", "text_key", "context", "stride", "limit", "end_marks")
"""The options that choose the text to measure, by the names of Wanted's fields."""
TASKS = ("tasks", "include_path", "num_fewshot", "allow_code", "allow_network")
"""The options of lm-evaluation-harness's tasks, which also use `context` and `limit`."""


def wanted(options: argparse.Namespace) -> Wanted:
    """Return the text that the options ask for."""
    given = {name: value for name in TEXT if (value := getattr(options, name)) is not None}
    return Wanted(**{**given, "files": tuple(given.get("files", ()))})


def in_windows(config: RunConfig, asked: Wanted) -> RunConfig:
    """Return the configuration with samples as long as the context that was asked for."""
    kind = held_out.measured(config)
    return kind.in_windows(config, asked) if kind else config


def measurements(config: RunConfig, options: argparse.Namespace) -> Sequence[Measurement]:
    """Return all measurements that the options ask for; `config` is for one process.

    On text, that is perplexity (of the validation split if nothing else is asked for) and tasks; other families measure
    what their own evaluation does. Raises UserError for options that cannot be met, before torch is imported.
    """
    kind = held_out.measured(config)
    if kind is None or FAMILIES.has(config.model.family, "evaluation"):
        own = evaluation_of(config)
        _refuse(config, options)
        own.check(config)
        return [Own(config, own)]
    asked = wanted(options)
    _check_together(options, asked)
    found: list[Measurement] = []
    if asked.files or not options.tasks:
        try:
            found.append(Loss.read(config, kind, asked))
        except UserError as error:
            if error.path in TEXT:
                raise error.replaced(path=_option(error.path)) from None
            raise
    if options.tasks:
        from slipway.evaluate.tasks.measurement import Asked, tasks

        of_tasks = Asked(
            options.tasks,
            options.include_path,
            options.limit,
            options.num_fewshot,
            options.context,
            options.allow_code,
            options.allow_network,
        )
        found += tasks(config, of_tasks)
    return found


def _check_together(options: argparse.Namespace, asked: Wanted) -> None:
    """Raise UserError for an option that has no effect together with the others."""
    of_files = () if asked.files else ("text_key",)
    of_text = ("text_key", "stride", "end_marks") if options.tasks and not asked.files else of_files
    idle = [(name, "without --files") for name in of_text]
    idle += [(name, "without --tasks") for name in TASKS[1:] if not options.tasks]
    for name, why in idle:
        if getattr(options, name) not in (None, False):
            raise UserError(_option(name), f"has no effect {why}", do="omit it")


def _option(name: str) -> str:
    return f"evaluate --{name.replace('_', '-')}"


def _refuse(config: RunConfig, options: argparse.Namespace) -> None:
    """Raise UserError for an option that has no effect on a family that is not measured on text."""
    for name in (*TEXT, *TASKS):
        if getattr(options, name) not in (None, False):
            raise UserError(
                _option(name),
                f"has no effect on model.family={config.model.family}, which is not measured on text",
                do="omit it",
            )
