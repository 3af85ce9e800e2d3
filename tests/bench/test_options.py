from pathlib import Path

import pytest

from refusals import refused
from slipway.bench.options import at_least, configuration, make_folder, of_gpt, with_defaults

DEFAULTS = ["model.num_layers=4", "training.seed=1"]


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ([], DEFAULTS),
        (["training.seed=2"], [*DEFAULTS, "training.seed=2"]),
        (["model=llama3_8b"], ["training.seed=1", "model=llama3_8b"]),
        (["+experiment=demo"], ["+experiment=demo"]),
    ],
)
def test_defaults_give_way_to_groups(overrides: list[str], found: list[str]) -> None:
    assert with_defaults(DEFAULTS, overrides) == found


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    with refused("bench train --steps", value=0, use="1"):
        at_least("bench train --steps", 0, 1)
    (tmp_path / "file").touch()
    with refused("--out"):
        make_folder("--out", tmp_path / "file")


def test_what_is_written_for_gpt_refuses_other_families() -> None:
    of_gpt("bench compare", configuration(DEFAULTS, [], Path("run")))
    with refused("bench compare", "gpt", "mae"):
        of_gpt("bench compare", configuration(DEFAULTS, ["model=earth_demo"], Path("run")))
