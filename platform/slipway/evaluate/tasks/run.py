"""One run of a task by lm-evaluation-harness. Imports it, and torch."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import lm_eval.evaluator
import lm_eval.utils
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval.api.registry import metric_registry
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry

from slipway.errors import Fault, UserError
from slipway.evaluate.measurement import Tell
from slipway.evaluate.tasks import task_files
from slipway.evaluate.tasks.harness import RunModel
from slipway.models.text import TextModel

if TYPE_CHECKING:
    from slipway.evaluate.tasks.measurement import Task

# What task files write between {{ }} is a program, too: in the library's own environment it could do anything.
_open = lm_eval.utils.env
lm_eval.utils.env = ImmutableSandboxedEnvironment(
    loader=_open.loader, undefined=_open.undefined, keep_trailing_newline=_open.keep_trailing_newline
)
lm_eval.utils.env.filters.update(_open.filters)
# It would call git, nvcc, pip and others for a description of the machine, which no figure depends on.
for _name in ("add_env_info", "add_tokenizer_info", "get_git_commit_hash"):
    assert hasattr(lm_eval.evaluator, _name)
    setattr(lm_eval.evaluator, _name, lambda *_: None)


class _Factory(TaskFactory):
    """A task factory that gives the library the paths of the user's data files.

    The library would look for them in the current folder.
    """

    def __init__(self, task: "Task") -> None:
        super().__init__()
        self._files = {file.path: file for file in task.files}
        self._folder = task.folder

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        config = super()._load_full_config(entry, overrides)
        file = self._files.get(entry.yaml_path.resolve()) if entry.yaml_path else None
        if file and self._folder and (found := task_files.data_files(file, self._folder)):
            config["dataset_kwargs"] = {**config["dataset_kwargs"], "data_files": found}
        return config


def figures(task: "Task", model: TextModel, tell: Tell) -> Mapping[str, Any]:
    """Return what the library's simple_evaluate returns for a task.

    Raises UserError if a metric would be code from elsewhere, the task is unknown, or the library cannot run it.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    asked = task.asked
    for file in task.files:
        unknown = (
            []
            if asked.allow_code
            else [one for one in task_files.metrics(file) if one not in metric_registry]
        )
        if unknown:
            raise UserError(
                file.path,
                "is a metric that lm-evaluation-harness does not ship, so it would run code from elsewhere",
                value=unknown[0],
                do="read that code, and give --allow-code if you trust it",
            )
    try:
        manager = TaskManager(
            include_path=asked.include and str(asked.include), include_defaults=not _is_all_ours(task)
        )
        manager._factory = _Factory(task)
        if not task.files and task.name not in manager.all_tasks:
            raise _unknown(task, manager.all_tasks)
        found = simple_evaluate(
            model=RunModel(model, task.vocabulary, task.length, tell),
            tasks=[task.name],
            task_manager=manager,
            num_fewshot=asked.num_fewshot,
            limit=asked.limit,
            log_samples=False,
            bootstrap_iters=1000,
            confirm_run_unsafe_code=asked.allow_code,
        )
    except (UserError, Fault):
        raise
    except Exception as error:  # whatever the library, its task or its data set comes to
        raise UserError(
            f"evaluate --tasks {task.name}",
            f"lm-evaluation-harness cannot run it: {type(error).__name__}: {' '.join(str(error).split())[:400]}",
            do="" if asked.allow_network else "give --allow-network if its data is not on this machine",
        ) from error
    assert found is not None  # this is its only rank
    return found


def _is_all_ours(task: "Task") -> bool:
    """Return whether the task is made of the user's files alone, so the library need not read its thousands."""
    assert not task.files or task.folder
    names = set(task.folder.by_name) | set(task.folder.by_tag) if task.folder else set()
    members = {
        one if isinstance(one, str) else one.get("task", one.get("group"))
        for file in task.files
        for one in task_files.members(file.config)
    }
    return bool(task.files) and members <= names


def _unknown(task: "Task", known: list[str]) -> UserError:
    from slipway.config.explain import nearest

    where = f"in {task.asked.include}, nor " if task.asked.include else ""
    return UserError(
        "evaluate --tasks",
        f"is not a task {where}of lm-evaluation-harness",
        value=task.name,
        do=nearest(task.name, known),
    )
