"""run.json: what jobs carry."""

from pathlib import Path

import pytest

from refusals import refused
from slipway.config import compose, run_file
from slipway.config.schema import RunConfig
from slipway.errors import UserError


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
    ("text", "changed", "told"),
    [
        ("{", [], "is not JSON"),
        ("[]", [], "holds no sections"),
        ("{}", ["a.b=1"], "a.b: no such key"),
        (None, ["run.name=b"], "is not KEY=JSON"),
        (None, ["run"], "is not KEY=JSON"),
        (None, ["optimizer.rl=1"], "optimizer.rl: no such key"),
        (None, ["optimizer.lr=-1"], "optimizer.lr: must be greater than 0"),
    ],
)
def test_mistakes_are_one_line(text: str | None, changed: list[str], told: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(run_file.to_text(compose_()) if text is None else text)
    with pytest.raises(UserError, match=told):
        run_file.read(path, changed)


def test_a_file_that_is_not_there() -> None:
    with refused("nowhere.json"):
        run_file.read(Path("nowhere.json"))
