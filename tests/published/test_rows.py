from collections import Counter

from published.cases import case_of
from published.rows import rows, sayable, unsayable
from slipway.config.schema import Parallelism
from slipway.models import family


def test_every_row_is_planned_or_has_its_reason() -> None:
    reasons = Counter(unsayable(row) for row in rows())
    assert reasons[None] == len(sayable()) > 430
    assert all(count < 120 for reason, count in reasons.items() if reason is not None)


def test_halves_are_of_one_size_in_every_source() -> None:
    halves = Counter((row.source, row.half) for row in sayable())
    for source in {row.source for row in sayable()}:
        assert halves[source, "fit"] - halves[source, "test"] in (0, 1), source


def test_configurations_have_the_parameters_of_the_row() -> None:
    """Within 4% of what the source says, of whole models; sources count embeddings as they like."""
    for row in sayable():
        stated, shortened = float(row.text("params_b") or 0), "proxy" in row.text("note")
        if (
            row.name == "r464"
        ):  # its 10 layers take 10/6 of the time of 6; the label is that of the 6 beside it
            continue
        if stated and not shortened and row.text("set") != "simumax-b200":
            config = case_of(row).config
            layers = family(config).layers(config, Parallelism())
            parameters = sum(layer.parameters.total for layer in layers) / 1e9
            assert abs(parameters / stated - 1) < 0.04, (row.name, row.text("model"), parameters, stated)


def test_every_layer_is_in_one_chunk() -> None:
    for row in sayable():
        case = case_of(row)
        chunks = [layer for span in case.spans for layer in span]
        assert chunks == list(range(row.number("layers") + 2)), row.name
        assert len(case.spans) == case.grid.pp * case.config.parallelism.virtual_stages
