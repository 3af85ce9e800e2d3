import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.config.explain import nearest, valid_names


def test_names_of_sections() -> None:
    assert "steps" in valid_names(("training",))
    assert {"training", "model", "data"} <= set(valid_names(()))


def test_names_inside_free_names() -> None:
    assert valid_names(("data", "sources", "anything")) == ["format", "inputs", "text_key", "weight"]
    assert valid_names(("data", "sources", "any"), {"data": {"kind": "text"}}) == [
        *("inputs", "text_key", "weight")
    ]
    assert valid_names(("data", "sources")) == []
    assert valid_names(("nowhere", "at", "all")) == []


def test_nearest_lists_all_and_names_one() -> None:
    assert nearest("lern", ["learn", "run"]) == "did you mean learn? (valid: learn, run)"
    assert nearest("xyz", ["learn", "run"]) == "use one of learn, run"
    assert nearest("xyz", []) == ""


@pytest.mark.parametrize(
    ("words", "path", "missing"),
    [
        (["model=demo", "data=any_imagery"], "data.num_frames", "model.num_frames"),
        (["model=earth_demo", "data=bytes"], "data.sequence_length", "model.max_position_embeddings"),
    ],
)
def test_data_for_models_of_another_family(words: list[str], path: str, missing: str) -> None:
    with refused(path, missing, use=["data=...", "model=..."]):
        compose(words)
