"""What sacct tells of energy, in lines as its manual gives them: the test cluster keeps no accounts."""

import pytest

from slipway.launch.schedulers import slurm_energy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7|\n7.batch|120\n7.extern|120\n7.0|3600000\n", {"7": 3.6e6}),
        ("7|5000\n7.0|4000\n8_2|\n8_2.0|100\n", {"7": 5000.0, "8_2": 100.0}),
        ("7|0\n7.0|0\n", {}),
        ("7|18446744073709551614\n7.0|18446744073709551614\n", {}),
        ("", {}),
        ("Welcome to this site\n7.0|12.3K\n", {}),
    ],
)
def test_joules_by_job(text: str, expected: dict[str, float]) -> None:
    assert slurm_energy.read(text) == expected
