"""What holds of every configuration: a mistake is answered by its path, a job of a sweep by its changes."""

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.config.compose import compose, validate_plain
from slipway.config.explain import valid_names
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan import Plan, make_plan, plan_file

BASES = {
    "a demo": ["experiment=demo"],
    "a site": ["cluster=juwels_booster"],
    "a cloud": ["cluster=gke", "+data.sources.more={inputs: [a, b], weight: 2}"],
}
Path_ = tuple[str, ...]


@functools.cache
def base(name: str) -> RunConfig:
    return compose(BASES[name])


@functools.cache
def plain(name: str) -> dict[str, Any]:
    return base(name).model_dump(mode="json")


def leaves(value: Any, path: Path_ = ()) -> list[Path_]:
    """Paths of all fields that hold no section."""
    if isinstance(value, dict) and value:
        return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
    return [path]


FIELDS = [(name, path) for name in BASES for path in leaves(plain(name)) if valid_names(path[:-1])]
SECTIONS = sorted({(name, path[:length]) for name, path in FIELDS for length in range(1, len(path))})
WRONG = st.sampled_from([None, True, -1, 0.5, 10**30, "", "no such value", " ", [], [[]], {}, {"a": {}}])


def changed(name: str, path: Path_, value: Any) -> dict[str, Any]:
    """The configuration with another value at a path."""
    result = copy.deepcopy(plain(name))
    section = result
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return result


def refusal(configuration: dict[str, Any]) -> str | None:
    """The line in which a configuration is refused."""
    try:
        validate_plain(configuration)
    except UserError as error:
        return str(error)
    return None


def names(line: str, path: Path_) -> bool:
    """Whether a line begins with a field's path, an entry's of it, or its section's whose rule names the field."""
    where, dotted = line.partition(": ")[0], ".".join(path)
    of_its_section = where == ".".join(path[:-1]) and path[-1] in line
    return where == dotted or where.startswith(f"{dotted}.") or of_its_section


@settings(max_examples=400)
@given(st.sampled_from(FIELDS), WRONG)
def test_a_wrong_value_is_told_by_its_path(field: tuple[str, Path_], value: Any) -> None:
    """Where a value is not taken, one line begins with its own path (or an entry's of it), and repeats it."""
    name, path = field
    line = refusal(changed(name, path, value))
    now = functools.reduce(lambda section, key: section[key], path, plain(name))
    if type(now) in (int, float) and not (type(value) in (int, float) or value is None):
        assert line is not None, "a number is no switch, text or list"
    if line is not None:
        assert names(line, path), line
        assert "\n" not in line and len(line) < 1000


@settings(max_examples=100)
@given(st.sampled_from(SECTIONS), st.sampled_from([None, 3, "text", [1]]))
def test_no_section_is_anything_else(section: tuple[str, Path_], value: Any) -> None:
    line = refusal(changed(*section, value))
    dotted = ".".join(section[1])
    assert line is not None and line.startswith(f"{dotted}: ") or value is None, line


@settings(max_examples=200)
@given(st.sampled_from([field for field in FIELDS if len(field[1][-1]) > 3]), st.data())
def test_a_misspelt_name_is_told_with_the_right_one(field: tuple[str, Path_], data: st.DataObject) -> None:
    name, (*parents, last) = field
    left_out = data.draw(st.integers(1, len(last) - 1))
    misspelt = last[:left_out] + last[left_out + 1 :]
    if misspelt in valid_names(tuple(parents)) or misspelt == last:
        return
    configuration = changed(name, (*parents, misspelt), 1)
    functools.reduce(lambda section, key: section[key], parents, configuration).pop(last)
    line = refusal(configuration)
    assert line is not None and line.startswith(f"{'.'.join([*parents, misspelt])}: no such key")
    assert "did you mean" in line and last in line


@pytest.mark.parametrize("name", BASES)
def test_what_has_no_default_is_missed_by_its_path(name: str) -> None:
    missed = 0
    for _, path in [field for field in FIELDS if field[0] == name]:
        configuration = copy.deepcopy(plain(name))
        functools.reduce(lambda section, key: section[key], path[:-1], configuration).pop(path[-1])
        line = refusal(configuration)
        if line is not None:
            assert names(line, path), line
            missed += 1
    assert missed > 20


own_names = st.sampled_from(["a", "a.b", "b", "b.c-d", "2_e"])
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
sources = st.dictionaries(
    own_names,
    st.fixed_dictionaries({"inputs": st.lists(texts, min_size=1, max_size=3), "weight": st.floats(0.1, 5)}),
    min_size=1,
    max_size=3,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "run.name": own_names,
    "run.dir": texts,
    "training.steps": st.integers(1, 10**9),
    "training.precision": st.sampled_from(["fp32", "bf16"]),
    "training.stop_after_step": st.none() | st.integers(1, 9),
    "optimizer.lr": st.floats(1e-12, 10),
    "data.split": st.tuples(*[st.floats(0, 1)] * 3).map(list),
    "data.sources": sources,
    "logging.tensorboard": st.booleans(),
    "cluster.environment": st.dictionaries(st.sampled_from(["A", "B_C"]), texts, max_size=2),
    "checkpoint.keep_last": st.none() | st.integers(1, 5),
}
configurations = st.tuples(st.sampled_from(sorted(BASES)), st.fixed_dictionaries({}, optional=VALUES)).map(
    lambda drawn: _with(*drawn)
)


def _with(name: str, values: dict[str, Any]) -> RunConfig:
    configuration = copy.deepcopy(plain(name))
    for dotted, value in values.items():
        section, key = dotted.split(".")
        configuration[section][key] = value
    return RunConfig.model_validate(configuration)


@settings(max_examples=100)
@given(configurations, configurations)
def test_changes_make_one_configuration_into_any_other(one: RunConfig, other: RunConfig) -> None:
    path = Path("plan.json")
    before, after = (_planned().model_copy(update={"config": config}) for config in (one, other))
    words = plan_file.changes(before, after)
    path.write_text(plan_file.to_text(before), encoding="utf-8")
    assert plan_file.read_config(path) == one
    assert plan_file.read_config(path, words) == other
    assert (words == []) == (one == other)


@functools.cache
def _planned() -> Plan:
    return make_plan(base("a demo"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("run"))
