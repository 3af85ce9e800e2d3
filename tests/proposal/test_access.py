from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from slipway.proposal import access


@pytest.mark.parametrize(
    ("hours", "name"),
    [
        (1, "Playground"),
        (5000, "Playground"),
        (5000.1, "Fast Lane"),
        (50_000, "Fast Lane"),
        (50_001, "Large Scale"),
        (10**9, "Large Scale"),
    ],
)
def test_modes(hours: float, name: str) -> None:
    assert access.read().of(hours).name.startswith(name)


def test_limits_have_a_date_and_a_source() -> None:
    programme = access.read()
    assert programme.noted.year >= 2026 and "eurohpc" in programme.source


@pytest.mark.parametrize("limits", [[5, 3, None], [5, 5, None], [None, 5], [5, 9]])
def test_limits_that_do_not_grow_to_none_are_refused(limits: list[int | None], tmp_path: Path) -> None:
    plain = yaml.safe_load(access.FILE.read_text())
    plain["modes"] = [{"name": "a", "most": most} for most in limits]
    path = tmp_path / "modes.yaml"
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(ValidationError):
        access.read(path)
