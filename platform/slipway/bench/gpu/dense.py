"""Parts: a shape's speed and memory on one device, beside the plain model under torch.compile; where the time goes."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from slipway.bench.gpu import trainers
from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.shapes import SHAPES, Fit, Shape, fit, least_gib, planned
from slipway.bench.turns import Worker
from slipway.errors import Fault
from slipway.plan import Plan
from slipway.words import quantity

# goals: share of the matmul ceiling for dense shapes, and times the rate of torch.compile
CEILING, TIMES = 0.60, 1.05
OURS, COMPILED, EAGER = "slipway", "torch.compile", "plain PyTorch"
STEPS = (2, 1)  # steps of a turn
SECONDS = (14.0, 1.0)  # of all turns together


def gpt_2048(scene: Scene) -> None:
    """Measure GPT 1.3B at 2,048 tokens."""
    _compare(scene, SHAPES["gpt-2048"])


def gpt_4096(scene: Scene) -> None:
    """Measure GPT 1.3B at 4,096 tokens."""
    _compare(scene, SHAPES["gpt-4096"])


def llama_2048(scene: Scene) -> None:
    """Measure Llama 3 8B at 2,048 tokens."""
    _compare(scene, SHAPES["llama-2048"])


def llama_4096(scene: Scene) -> None:
    """Measure Llama 3 8B at 4,096 tokens."""
    _compare(scene, SHAPES["llama-4096"])


def experts(scene: Scene) -> None:
    """Measure a Llama with 16 experts; the plain model has none, so it is not compared."""
    _compare(scene, SHAPES["experts"], compared=False)


def _compare(scene: Scene, shape: Shape, *, compared: bool = True) -> None:
    fits = fit(shape, scene.here, scene.folder / "run", compared=compared)
    if fits is None:
        needed = least_gib(shape, scene.here, scene.folder / "run")
        scene.found.leave_out(f"two layers of it need a device of {needed:.0f} GiB")
        return
    plan = planned(shape, scene.here, fits.layers, scene.folder / "run")
    if compared and not fits.beside:
        scene.found.note("The plain model does not fit beside it: Slipway was measured alone.")
    plain = EAGER if scene.here.rehearse else COMPILED
    with ExitStack() as stack:
        builds = {OURS: trainers.slipway_trainer} | ({plain: trainers.plain_trainer} if fits.beside else {})
        workers = {}
        for name, build in builds.items():
            workers[name] = Worker(name, build, plan.config)
            stack.callback(workers[name].close)
        _measure(scene, plan, fits, workers)


def _measure(scene: Scene, plan: Plan, fits: Fit, workers: dict[str, Worker]) -> None:
    for name, worker in list(workers.items()):
        try:
            worker.ready()
        except Fault as error:
            scene.found.note(f"{name} cannot be measured: {error.problem}")
            del workers[name]
    scene.found.check("slipway trains it", OURS in workers, _model(plan))
    if OURS not in workers:
        return
    asks = {
        name: partial(worker.ask, trainers.timed, scene.sized(*STEPS)) for name, worker in workers.items()
    }
    seconds = trainers.in_turn(asks, scene.sized(*SECONDS))
    memory = {name: worker.ask(trainers.memory_gib) for name, worker in workers.items()}
    ceiling = workers[OURS].ask(trainers.ceiling)
    for name in workers:
        expected = fits.planned if name == OURS else fits.plain
        scene.found.row(**row(name, plan, seconds[name], ceiling, memory[name], expected))
    best = median(seconds[OURS])
    scene.found.note(f"{_model(plan)}; matmul ceiling {ceiling / 1e12:.3g} TFLOP/s.")
    if plan.active_parameters == plan.parameters:  # a mixture's products are small
        scene.found.goal("share of the matmul ceiling", plan.flops_per_step / best / ceiling, CEILING)
    for name in workers.keys() - {OURS}:
        scene.found.goal(f"times the rate of {name}", ratio(seconds[OURS], seconds[name]), TIMES)
    shares = workers[OURS].ask(trainers.shares, 1)
    scene.found.share(OURS, shares)
    told = workers[OURS].ask(trainers.kernels)
    scene.found.note(
        "Kernels: " + ", ".join(f"{operator} {backend}" for operator, backend in told.items()) + "."
    )


def row(
    name: str, plan: Plan, seconds: Sequence[float], ceiling: float, memory: float, expected: float
) -> dict[str, Any]:
    """Return a trainer's figures.

    seconds: of a step in each turn; ceiling: FLOP/s; memory and expected: GiB.
    """
    units = plan.config.training.global_batch_size * plan.units_per_sample
    return {
        "trainer": name,
        "tokens/s, median": units / median(seconds),
        "least": units / max(seconds),
        "most": units / min(seconds),
        "TFLOP/s": plan.flops_per_step / median(seconds) / 1e12,
        "share of the matmul ceiling": plan.flops_per_step / median(seconds) / ceiling,
        "most memory (GiB)": memory,
        "estimated (GiB)": expected,
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return how many times as fast as theirs ours is: the median of the turns, each against its neighbour."""
    return median(other / one for one, other in zip(ours, theirs, strict=True))


def _model(plan: Plan) -> str:
    model: Mapping[str, Any] = plan.config.model.model_dump()
    active = plan.active_parameters
    sparse = f", {quantity(active)} of them active" if active != plan.parameters else ""
    return f"{model['num_layers']} layers, {quantity(plan.parameters)} parameters{sparse}"
