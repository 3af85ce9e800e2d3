"""run.json: what jobs carry."""

from pathlib import Path

import pytest

from refusals import refused
from slipway.config import compose, run_file
from slipway.config.schema import RunConfig


def compose_(*overrides: str) -> RunConfig:
    return compose.compose(overrides)


def test_a_configuration_survives(tmp_path: Path) -> None:
    config = compose_("experiment=demo", "run.name=a", "cluster=juwels_booster", "optimizer.lr=1.5e-7")
    path = tmp_path / "run.json"
    path.write_text(run_file.to_text(config))
    assert run_file.read(path) == config


def test_changes_make_one_job_of_a_sweep_into_another(tmp_path: Path) -> None:
    base = compose_("run.name=a")
    other = compose_("run.name=b", "optimizer.lr=2e-3", "data=files", "data.sources.files.inputs=[x y]")
    words = run_file.changes(base, other)
    assert 'run.name="b"' in words and "optimizer.lr=0.002" in words
    assert not [word for word in words if word.startswith("model")]
    path = tmp_path / "run.json"
    path.write_text(run_file.to_text(base))
    assert run_file.read(path, words) == other


def test_names_with_dots_do_not_become_paths(tmp_path: Path) -> None:
    base, other = (compose_("data=files", "data.sources.files.inputs=[x]") for _ in range(2))
    plain = base.model_dump(mode="json")
    for weight in (1, 2):
        plain["data"]["sources"] = {"a.b": {"inputs": ["x"], "weight": weight}}
        base, other = other, RunConfig.model_validate(plain)
    path = tmp_path / "run.json"
    path.write_text(run_file.to_text(base))
    assert run_file.read(path, run_file.changes(base, other)) == other


@pytest.mark.parametrize(
    ("text", "changed", "path"),
    [
        ("{", [], "run.json"),
        ("[]", [], "run.json"),
        ("{}", ["a.b=1"], "a.b"),
        (None, ["run.name=b"], "run.name=b"),
        (None, ["run"], "run"),
        (None, ["optimizer.rl=1"], "optimizer.rl"),
        (None, ["optimizer.lr=-1"], "optimizer.lr"),
    ],
)
def test_mistakes_are_one_line(text: str | None, changed: list[str], path: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(run_file.to_text(compose_()) if text is None else text)
    with refused(file if path == file.name else path):
        run_file.read(file, changed)


def test_a_file_that_is_not_there() -> None:
    with refused("nowhere.json"):
        run_file.read(Path("nowhere.json"))
