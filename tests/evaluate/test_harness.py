"""Tasks of the real lm-evaluation-harness on two checkpoints: its figures on the exported models are the same."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from refusals import check_line
from slipway.metrics import evaluations
from training import layout, slipway

pytestmark = [pytest.mark.evaluation, pytest.mark.timeout(1200)]

STEPS = (2, 4)
TEXTS = ["def first():\n    return 'a text of several windows'\n" * 2, "é short", "import json\n" * 7]
QUESTIONS = [
    {"question": f"{word}?", "choices": [word, word * 2, "ab"], "answer": number % 3}
    for number, word in enumerate(("return", "self", "value", "class", "import", "none", "true"))
]
DATA = {"dataset_path": "json", "test_split": "test", "fewshot_split": "test"}
TASKS = {
    "choices": {
        **DATA,
        "dataset_kwargs": {"data_files": {"test": "data/questions.jsonl"}},
        "output_type": "multiple_choice",
        "doc_to_text": "Q: {{question | upper}}\nA:",
        "doc_to_target": "answer",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "texts": {
        **DATA,
        "dataset_kwargs": {"data_files": {"test": "data/texts.jsonl"}},
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{page}}",
        "metric_list": [{"metric": one} for one in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    },
    "written": {
        "include": "choices.yaml",
        "output_type": "generate_until",
        "generation_kwargs": {"until": ["\n", "  "], "max_gen_toks": 6},
        "metric_list": [{"metric": "exact_match"}],
    },
}
NAMES = [*TASKS, "both"]


@pytest.fixture(scope="module")
def folder(
    train_many: Callable[[Sequence[Sequence[str]]], list[int]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("harness")
    words = [
        f"run.dir={folder / 'run'}",
        "data.sequence_length=32",
        "training.steps=4",
        "checkpoint.interval=2",
    ]
    assert train_many([[*layout(ranks=4, tp=2, pp=2), *words]]) == [0]
    for step in STEPS:
        words = ["run.dir=run", "--step", str(step), f"to=exported-{step}"]
        done = slipway("export", "hf", *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    tasks = folder / "tasks"
    (tasks / "data").mkdir(parents=True)
    for name, rows in (("questions", QUESTIONS), ("texts", [{"page": text} for text in TEXTS])):
        (tasks / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, task in TASKS.items():
        (tasks / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **task}))
    group = {"group": "both", "task": ["choices"], "aggregate_metric_list": [{"metric": "acc"}]}
    (tasks / "both.yaml").write_text(yaml.safe_dump(group))
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict[int, dict]:
    asked = {
        "folders": [str(folder / f"exported-{step}") for step in STEPS],
        "tasks": NAMES[1:],  # the group brings its task; both would be a duplicate
        "texts": TEXTS,
        "context": 24,
        "stride": 7,
    }
    program = Path(__file__).with_name("hf_figures.py")
    done = subprocess.run(
        [sys.executable, str(program), json.dumps(asked)],
        cwd=folder / "tasks",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {step: found[str(folder / f"exported-{step}")] for step in STEPS}


def evaluate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return slipway("evaluate", "run.dir=run", *words, cwd=folder, timeout=600)


def test_the_figures_are_those_of_the_exported_models(folder: Path, theirs: dict[int, dict]) -> None:
    """A data file is named relative to its task file, and this is another folder."""
    words = ["--every-checkpoint", "--include-path", "tasks", "--num-fewshot", "1"]
    done = evaluate(folder, *words, "--tasks", ",".join(NAMES))
    assert done.returncode == 0, done.stderr
    results, problems = evaluations.found(folder / "run")
    assert problems == [] and [one.step for one in results] == [*STEPS] * len(NAMES)
    for one in results:
        ours = {(score.what, score.measure): score.mean for score in one.scores}
        expected = {
            (task, key.partition(",")[0]): value
            for task in {score.what for score in one.scores}
            for key, value in theirs[one.step]["results"][task].items()
            if "," in key and "_stderr" not in key and isinstance(value, float)
        }
        assert ours == pytest.approx(expected, rel=1e-5) and ours
    before = {path: path.stat().st_mtime_ns for path in (folder / "run" / "evaluation").iterdir()}
    assert evaluate(folder, *words, "--tasks", ",".join(NAMES)).returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "run" / "evaluation").iterdir()}


def test_files_have_the_figures_of_the_rolling_task_and_of_transformers(
    folder: Path, theirs: dict[int, dict]
) -> None:
    words = ["--step", "2,4", "--files", "tasks/data/texts.jsonl", "--text-key", "page", "--json"]
    whole, parts = evaluate(folder, *words), evaluate(folder, *words, "--context", "24", "--stride", "7")
    assert whole.returncode == parts.returncode == 0, whole.stderr + parts.stderr
    for step, line in zip(STEPS, whole.stdout.splitlines(), strict=True):
        ours = {score["measure"]: score["values"][0] for score in json.loads(line)["scores"]}
        rolling = theirs[step]["results"]["texts"]
        for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
            assert ours[name] == pytest.approx(rolling[f"{name},none"], rel=1e-5)
    size = sum(len(text.encode()) for text in TEXTS)
    for step, line in zip(STEPS, parts.stdout.splitlines(), strict=True):
        ours = {score["measure"]: score["values"][0] for score in json.loads(line)["scores"]}
        assert ours["bits_per_byte"] == pytest.approx(theirs[step]["nats"] / size / math.log(2), rel=1e-5)


def test_templates_are_no_way_out(folder: Path) -> None:
    """What stands between {{ }} may read a document, and nothing of Python."""
    task = {**TASKS["choices"], "task": "out", "doc_to_text": "{{question.__class__.__mro__}}"}
    (folder / "tasks" / "out.yaml").write_text(yaml.safe_dump(task))
    done = evaluate(folder, "--tasks", "out", "--include-path", "tasks")
    assert done.returncode == 2
    check_line(done.stderr.splitlines()[-1], "evaluate --tasks out", "SecurityError")
    assert not list((folder / "run" / "evaluation").glob("task-out-*"))


def test_a_metric_that_would_be_fetched_is_refused(folder: Path) -> None:
    task = {**TASKS["choices"], "task": "fetched", "metric_list": [{"metric": "of_somebody"}]}
    (folder / "tasks" / "fetched.yaml").write_text(yaml.safe_dump(task))
    done = evaluate(folder, "--tasks", "fetched", "--include-path", "tasks")
    assert done.returncode == 2
    check_line(done.stderr.splitlines()[-1], folder / "tasks" / "fetched.yaml", "of_somebody", "--allow-code")
