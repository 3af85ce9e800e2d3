"""The line of a step, and the mirrors' names, in the units of the run."""

import pytest

from slipway.metrics.console import missing_line, train_line
from slipway.metrics.mirrors import mirrored
from slipway.plan.units import Units, plural

TOKENS = Units("token", 128, "nats per token")
IMAGES = Units("image", 1)
VALUES = {"step": 7, "loss": 2.5, "learning_rate": 1e-3, "grad_norm": 0.5, "step_seconds": 0.5, "mfu": 0.25}
VALUES |= {"samples_per_second": 32.0, "units_per_second": 4096.0, "tflops_per_device": 1.5, "updated": True}


@pytest.mark.parametrize(
    ("units", "rate", "mirror"),
    [
        (TOKENS, "4,096 tokens/s", {"train/samples_per_second": 32.0, "train/tokens_per_second": 4096.0}),
        (IMAGES, "4,096 images/s", {"train/images_per_second": 4096.0}),
    ],
)
def test_rates_have_the_unit_of_the_run(units: Units, rate: str, mirror: dict[str, float]) -> None:
    measures = {"f1": 0.5, "nothing": None, "load_entropy": 0.9}
    line = train_line({**VALUES, "measures": measures}, 200, 60.0, units, ["f1", "nothing"])
    assert rate in line and "f1 0.5" in line and "nothing" not in line
    assert "load_entropy" not in line, "what a family counts beside its measures is in metrics.jsonl"
    assert line.count("/s ") == 1  # the rate once; TFLOP/s/device and s/step are others
    found = mirrored("train", VALUES, units)
    assert {name: value for name, value in found.items() if "per_second" in name} == mirror
    assert found["train/loss"] == 2.5 and "train/step" not in found


def test_mirrors_have_a_familys_measures_and_no_text() -> None:
    values = {"step": 3, "loss": None, "measures": {"f1": 0.5, "balance": None}}
    assert mirrored("validation", values, IMAGES) == {"validation/f1": 0.5}
    assert mirrored("event", {"step": 3, "event": "stop", "reason": "SIGTERM"}, IMAGES) == {}


def test_stretches_of_steps() -> None:
    assert missing_line([(1, 3), (5, 5)]) == "1 to 3, 5"
    assert missing_line([(n, n) for n in range(1, 20, 2)]) == "1, 3, 5, 7, 9, 11, 13, 15 and 2 more stretches"


def test_units_that_a_file_does_not_tell() -> None:
    assert [plural(noun) for noun in ("token", "patch", "image")] == ["tokens", "patches", "images"]
    assert Units.read({"unit": 3, "units_per_sample": True}) == Units()
    assert Units.read({"unit": "token", "units_per_sample": 128, "loss_unit": "nats per token"}) == TOKENS
    assert (TOKENS.is_sample, IMAGES.is_sample, Units().is_sample) == (False, True, False)
    assert (TOKENS.loss, IMAGES.loss) == ("loss (nats per token)", "loss")
