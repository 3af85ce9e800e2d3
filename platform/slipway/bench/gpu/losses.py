"""Part: compares losses and gradient norms on the device with the CPU's in fp32, model by model."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.models import MODELS, overrides
from slipway.bench.gpu.trainings import NO_TF32, PLAIN, Batch, corpus, lines

STEPS = (10, 3)
# relative, of the loss; bf16 rounds each product to 8 bits, which the mean over thousands of tokens evens out
LIMITS = {"fp32": 1e-4, "bf16": 1e-2}


def losses(scene: Scene) -> None:
    """Train each model on the CPU in fp32 and on the device in both precisions; compare."""
    folder = scene.folder
    steps = f"training.steps={scene.sized(*STEPS)}"
    models = {name: [*PLAIN, *overrides(name, scene.here), steps] for name in MODELS}
    expected = {
        _run(name, "cpu"): [*words, *corpus("data-cpu"), "cluster=local", *_precision("fp32")]
        for name, words in models.items()
    }
    on_device = {
        _run(name, precision): [*words, *corpus(), *scene.here.cluster(), *_precision(precision)]
        for name, words in models.items()
        for precision in LIMITS
    }
    both = Batch(expected, folder), Batch(on_device, folder, variables=NO_TF32)  # both run at once
    codes = both[0].codes() | both[1].codes()
    for name in models:
        for precision, limit in LIMITS.items():
            what, one, other = f"{name}, {precision}", _run(name, precision), _run(name, "cpu")
            if codes[one] or codes[other]:
                scene.found.check(what, False, f"exit codes {codes[other]} and {codes[one]}", "0 and 0")
                continue
            ours, theirs = lines(folder / one), lines(folder / other)
            loss, norm = (largest_difference(ours, theirs, key) for key in ("loss", "grad_norm"))
            scene.found.row(
                model=name,
                precision=precision,
                steps=len(ours),
                loss_of_the_last=ours[-1]["loss"],
                largest_difference_of_a_loss=loss,
                of_a_gradient_norm=norm,
            )
            scene.found.check(what, loss < limit, f"{loss:.1e} from the CPU's fp32", f"below {limit:g}")


def _run(model: str, where: str) -> str:
    """Return the name of the run's directory."""
    return f"{model.replace(' ', '-')}-{where}"


def _precision(name: str) -> list[str]:
    return [f"training.precision={name}"]


def largest_difference(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], key: str
) -> float:
    """Return the largest difference between two runs' values, relative to the second's.

    Infinite if their steps differ, or a value is missing.
    """
    if not theirs or [line["step"] for line in ours] != [line["step"] for line in theirs]:
        return float("inf")
    return max(
        float("inf") if one[key] is None else abs(one[key] - other[key]) / abs(other[key])
        for one, other in zip(ours, theirs, strict=True)
    )
