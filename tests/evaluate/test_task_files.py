"""Task files are read as data: those that run code, or read what is elsewhere, are refused in one line."""

from pathlib import Path

import pytest
import yaml

from refusals import refused
from slipway.evaluate.tasks.task_files import Folder, data_files

TASK = {
    "task": "mine",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data/some.jsonl"}},
    "test_split": "test",
    "doc_to_text": "{{text}}",
    "metric_list": [{"metric": "acc"}],
}


def folder(path: Path, allow_code: bool = False, allow_network: bool = False, **changes: object) -> Folder:
    """A folder of one task in `inner/`, with its data, and a file outside of it."""
    root = path / "tasks"
    (root / "inner" / "data").mkdir(parents=True, exist_ok=True)
    (root / "inner" / "data" / "some.jsonl").write_text('{"text": "a"}\n')
    (path / "outside.jsonl").write_text("{}\n")
    (path / "outside.yaml").write_text("test_split: test\n")
    plain = {key: value for key, value in {**TASK, **changes}.items() if value is not None}
    text = yaml.safe_dump(plain).replace("'!function ", "!function '")
    (root / "inner" / "mine.yaml").write_text(text)
    return Folder(root, allow_code, allow_network)


def test_data_files_are_those_beside_the_task_file(tmp_path: Path) -> None:
    found = folder(tmp_path)
    (file,) = found.checked("mine")
    assert data_files(file, found) == {"test": [str(tmp_path / "tasks/inner/data/some.jsonl")]}


def test_a_task_of_the_librarys_is_left_to_it(tmp_path: Path) -> None:
    assert folder(tmp_path).checked("hellaswag") == []


CODE = {
    "a function": ({"doc_to_text": "!function utils.text"}, ("doc_to_text", "utils.text")),
    "one of a metric": (
        {"metric_list": [{"metric": "acc", "aggregation": "!function utils.mean"}]},
        ("metric_list[0].aggregation",),
    ),
    "a class": ({"class": "!function task.Mine"}, ("class", "task.Mine")),
    "a class by name": ({"class": "task.Mine"}, ("class",)),
    "a data set's code": ({"dataset_kwargs": {"trust_remote_code": True}}, ("trust_remote_code",)),
    "a metric from elsewhere": (
        {"metric_list": [{"metric": "x", "hf_evaluate": True}]},
        ("metric_list[0].hf_evaluate",),
    ),
    "what the model writes": ({"unsafe_code": True}, ("unsafe_code",)),
}


@pytest.mark.parametrize("name", CODE)
def test_code_of_unknown_origin_is_refused_unless_it_is_allowed(name: str, tmp_path: Path) -> None:
    changes, facts = CODE[name]
    with refused(str(tmp_path / "tasks/inner/mine.yaml"), *facts, "--allow-code"):
        folder(tmp_path, **changes).checked("mine")
    assert len(folder(tmp_path, allow_code=True, **changes).checked("mine")) == 1


@pytest.mark.parametrize("inside", ["include", "group", "tag"])
def test_code_is_found_in_what_a_task_consists_of(inside: str, tmp_path: Path) -> None:
    folder(tmp_path, doc_to_text="!function utils.text", tag="marked")
    other = {
        "include": "include: inner/mine.yaml\ntask: other\n",
        "group": "group: other\ntask: [mine]\n",
        "tag": "group: other\ntask: [marked]\n",
    }[inside]
    (tmp_path / "tasks" / "other.yaml").write_text(other)
    where = "other.yaml" if inside == "include" else "inner/mine.yaml"
    with refused(tmp_path / "tasks" / where, "doc_to_text"):
        Folder(tmp_path / "tasks", False, False).checked("other")


PLACES = {
    "a file that is not there": ({"test": "data/none.jsonl"}, ("data/none.jsonl",)),
    "a pattern without files": ({"test": "data/*.csv"}, ("data/*.csv",)),
    "a file outside": ({"test": "../../outside.jsonl"}, ("../../outside.jsonl",)),
    "one of a server": ({"test": "https://example.com/x.jsonl"}, ("--allow-network",)),
}


@pytest.mark.parametrize("name", PLACES)
def test_data_from_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    files, facts = PLACES[name]
    with refused(str(tmp_path / "tasks/inner/mine.yaml"), *facts):
        folder(tmp_path, dataset_kwargs={"data_files": files}).checked("mine")


@pytest.mark.parametrize("path", ["loader.py", "pandas", "inner"])
def test_a_data_set_that_is_no_data_file_is_refused(path: str, tmp_path: Path) -> None:
    """`pandas` reads pickles, which can run code."""
    with refused(tmp_path / "tasks/inner/mine.yaml", path, "json"):
        folder(tmp_path, dataset_path=path).checked("mine")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("include: ../outside.yaml\ntask: other\n", ("outside.yaml", "outside")),
        ("include: none.yaml\ntask: other\n", ("none.yaml",)),
        ("include: other.yaml\ntask: other\n", ("itself",)),
        ("task: mine\n", ("mine",)),
        ("task: [\n", ("YAML",)),
        ("- a\n", ("mapping",)),
        ("group: other\ntask: [{task: mine, dataset_kwargs: {data_files: x}}]\n", ("dataset_kwargs",)),
    ],
)
def test_a_file_that_cannot_be_taken_is_named(text: str, facts: tuple[str, ...], tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "tasks" / "other.yaml").write_text(text)
    with refused(tmp_path / "tasks" / "other.yaml", *facts):
        Folder(tmp_path / "tasks", False, False).checked("other")
