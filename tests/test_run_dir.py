"""The names in a run's directory stand in one module; templates and docs use the same."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import slipway
from refusals import refused
from slipway.run_dir import RunDir

ROOT = Path(__file__).parents[1]
PACKAGE = Path(slipway.__file__).parent
RUN = RunDir(Path("run"))
PLACES = [place for name in vars(RunDir) if isinstance(place := getattr(RUN, name), Path)]
NAMES = {place.name for place in PLACES}
OF_PODS = {
    "doctor/job/pod.py",
    "launch/kubernetes/pod.py",
}  # a plan.json in a ConfigMap, in no run's directory
WORDS = {"logs", "segments", "hangs", "checkpoints", "wandb", "tensorboard", "bad_nodes"}
WORDS |= {"pictures", "evaluation", "tokenizer"}
"""Names that mean something else, too: only in paths are they these."""


def spelled(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each name of a run's directory that a module spells as (a part of) a path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES - WORDS:
            yield node.lineno, node.value  # anywhere: these mean nothing else
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.left, node.right]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            parts = [node.value]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "Path",
            "joinpath",
            "glob",
        ):
            parts = [*node.args]
        for part in parts:
            text = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
            if text.split("/")[0] in NAMES or text.split("/")[-1] in NAMES - WORDS:
                yield getattr(node, "lineno", 0), text


def test_no_other_module_spells_a_name() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "run_dir.py" and path.relative_to(PACKAGE).as_posix() not in OF_PODS
        for line, text in spelled(ast.parse(path.read_text()))
    ]
    assert found == []


def test_templates_use_the_same_names() -> None:
    """But for a dot's: what a script writes for itself."""
    templates = [path for path in (ROOT / "deploy").rglob("*.j2")]
    used = {
        match[1] for path in templates for match in re.finditer(r"\$run_dir/([\w.-]*\w)", path.read_text())
    }
    assert {"metrics.jsonl", "logs", "bad_nodes"} <= used
    assert {name for name in used if not name.startswith(".")} <= NAMES


def test_docs_tell_of_each() -> None:
    table = (
        (ROOT / "docs" / "runs.md").read_text().split("## The files of a run")[1].split("\nReaders know")[0]
    )
    for place in PLACES:
        if place.parent == RUN.path:
            assert re.search(rf"`{re.escape(place.name)}[/`]", table), place.name


@pytest.mark.parametrize(("name", "wanted"), [("metrics.jsonl", "file"), ("logs", "folder"), (".", "")])
def test_one_thing_in_the_place_of_another(tmp_path: Path, name: str, wanted: str) -> None:
    run = RunDir(tmp_path / "runs" / "a")
    run.check()
    assert list(tmp_path.iterdir()) == []
    run.path.mkdir(parents=True)
    run.check()
    if not wanted:
        return
    wrong = run.path / name
    wrong.mkdir() if wanted == "file" else wrong.touch()
    with refused("run.dir", value=wrong):
        run.check()


def test_a_file_above(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refused("run.dir", tmp_path / "file", value=tmp_path / "file" / "run"):
        RunDir(tmp_path / "file" / "run").check()
