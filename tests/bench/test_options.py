from pathlib import Path

import pytest

from slipway.bench.options import at_least, make_folder, with_defaults
from slipway.errors import UserError

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
    with pytest.raises(UserError, match=r"^bench train --steps: must be at least 1, got 0$"):
        at_least("bench train --steps", 0, 1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^--out: cannot create .*file: File exists$"):
        make_folder("--out", tmp_path / "file")
