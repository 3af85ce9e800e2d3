from slipway.config.explain import nearest, valid_names


def test_names_of_sections() -> None:
    assert "steps" in valid_names(("training",))
    assert {"training", "model", "data"} <= set(valid_names(()))


def test_names_inside_free_names() -> None:
    assert valid_names(("data", "sources", "anything")) == ["inputs", "text_key", "weight"]
    assert valid_names(("data", "sources")) == []
    assert valid_names(("nowhere", "at", "all")) == []


def test_nearest_lists_all_and_names_one() -> None:
    assert nearest("lern", ["learn", "run"]) == "did you mean learn? (valid: learn, run)"
    assert nearest("xyz", ["learn", "run"]) == "use one of learn, run"
    assert nearest("xyz", []) == ""
