"""A task of lm-evaluation-harness as a measurement, carried out by the library itself."""

import importlib.metadata
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from slipway.config.schema import RunConfig
from slipway.data.text.vocabulary import Vocabulary, vocabulary_of
from slipway.errors import Fault, UserError
from slipway.evaluate.measurement import Subject, Tell
from slipway.evaluate.tasks import task_files
from slipway.evaluate.tasks.task_files import Folder, TaskFile
from slipway.models import text_of
from slipway.models.evaluation import Result, Score
from slipway.models.held_out import name_of
from slipway.runs.alone import whole

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
QUIET = {"TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "DISABLE_MULTIPROC": "1"}
"""No progress bars beside our own lines, and no processes forked from one that has process groups."""
HOW = (
    "lm-evaluation-harness {version}{shots}{limit}; the model reads {length} tokens at most. Texts become tokens as in "
    "training; special tokens in them are text."
)


class Asked(NamedTuple):
    """The options of tasks on the command line."""

    names: Sequence[str]
    include: Path | None
    """The folder of the user's task files."""
    limit: int | None
    num_fewshot: int | None
    context: int | None
    """The largest number of tokens that the model reads; None: as many as it was made for."""
    allow_code: bool
    allow_network: bool


@dataclass(frozen=True)
class Task:
    """A Measurement by one task."""

    config: RunConfig
    name: str
    asked: Asked
    folder: Folder | None
    files: list[TaskFile]
    """The user's own files that the task consists of; empty if the library brings the task."""
    vocabulary: Vocabulary
    length: int

    @property
    def title(self) -> str:
        """The name for people."""
        return f"Task {self.name}"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the task's figures depend on."""
        return {
            "measured": "task",
            "task": self.name,
            "sha256 of files": task_files.digest(self.files, self.folder) if self.folder else None,
            "limit": self.asked.limit,
            "num_fewshot": self.asked.num_fewshot,
            "context": self.length,
            "precision": self.config.training.precision,
            "lm-eval": _version(),
        }

    def of(self, subject: Subject, tell: Tell) -> Result:
        """Run the task on the model and return its figures. Raises UserError if the library cannot run it."""
        from slipway.evaluate.tasks.run import figures

        model = text_of(self.config).model(self.config, whole(subject.rank), subject.world.device)
        found = figures(self, model, tell)
        shots = (
            ""
            if self.asked.num_fewshot is None
            else f", {self.asked.num_fewshot} examples before each question"
        )
        limit = "" if self.asked.limit is None else f", the first {self.asked.limit} documents"
        return Result(
            name=name_of("task", [self.name], self.settings),
            title=self.title,
            step=subject.step,
            scores=scores(found["results"]),
            how=HOW.format(version=_version(), shots=shots, limit=limit, length=self.length),
            facts={key: found.get(key) for key in ("results", "n-samples", "n-shot", "versions")},
            settings=self.settings,
        )


def tasks(config: RunConfig, asked: Asked) -> list[Task]:
    """Return the tasks of a command line as measurements, before anything heavy is imported.

    Raises UserError if lm-evaluation-harness is missing, the context is longer than the model can read, the tokenizer
    has no end mark, or a task's files are refused.
    """
    if not find_spec("lm_eval"):
        raise UserError(
            "evaluate --tasks",
            "needs lm-evaluation-harness, which is not installed here",
            do="run `pip install 'slipway[evaluation]'`",
        )
    _prepare(asked.allow_network)
    reach, vocabulary = text_of(config).reach(config), vocabulary_of(config)
    length = asked.context or reach.known
    if reach.most is not None and length > reach.most:
        raise UserError(
            "evaluate --context", "is more than the model can read", value=length, use=f"at most {reach.most}"
        )
    if vocabulary.end_of_document is None:
        raise UserError(
            "evaluate --tasks",
            f"needs an end mark, which {vocabulary.path} does not have",
            do="evaluate a run whose tokenizer has one",
        )
    folder = Folder(asked.include, asked.allow_code, asked.allow_network) if asked.include else None
    return [
        Task(config, name, asked, folder, folder.checked(name) if folder else [], vocabulary, length)
        for name in dict.fromkeys(asked.names)
    ]


def scores(results: Mapping[str, Mapping[str, Any]]) -> list[Score]:
    """Return the scores in lm-evaluation-harness's `results`, whose keys are METRIC,FILTER.

    Standard errors are left out: they are among the facts. Raises Fault if no score is left.
    """
    found = []
    for task, figures in results.items():
        for key, value in figures.items():
            metric, _, filtered = key.partition(",")
            if metric.endswith("_stderr") or not filtered or not isinstance(value, int | float):
                continue
            name = metric if filtered == "none" else f"{metric} ({filtered})"
            found.append(Score(what=task, measure=name, values=[float(value)]))
    if not found:
        raise Fault(
            "evaluate --tasks",
            f"lm-evaluation-harness reported no figures for {', '.join(results)}",
            do="check the metrics of the task file",
        )
    return found


def _version() -> str:
    return importlib.metadata.version("lm_eval")


def _prepare(allow_network: bool) -> None:
    """Set the environment that the libraries read at their first import: no network unless it is allowed."""
    os.environ.update(QUIET)
    if not allow_network:
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
