"""Part: a shape on all devices at once, measured as by `slipway bench train`."""

from slipway.bench import train
from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.shapes import SHAPES, Fit, fit, overrides
from slipway.bench.options import configuration
from slipway.metrics.step_time import KINDS
from slipway.plan import make_plan

STEPS, WARM_UP = (4, 1), (2, 1)
OVERLAPPED = (
    "parallelism.use_distributed_optimizer=true",
    "parallelism.overlap_grad_reduce=true",
    "parallelism.overlap_param_gather=true",
)


def run(scene: Scene) -> None:
    """Measure GPT 1.3B, data parallel over all devices (an even number), and tensor parallel in pairs."""
    shape, devices = SHAPES["gpt-2048"], scene.here.count - scene.here.count % 2
    fits = fit(shape, scene.here, scene.folder, compared=False)
    if fits is None:
        scene.found.leave_out("two layers of it do not fit into a device")
        return
    pair = ["parallelism.tensor_model_parallel_size=2", "parallelism.sequence_parallel=true"]
    _layout(scene, f"DP{devices}", devices, fits, [*OVERLAPPED])
    _layout(scene, "TP2" if devices == 2 else f"TP2 x DP{devices // 2}", devices, fits, [*OVERLAPPED, *pair])


def _layout(scene: Scene, name: str, devices: int, fits: Fit, words: list[str]) -> None:
    given = [*overrides(SHAPES["gpt-2048"], scene.here, fits.layers, devices), *words]
    folder = scene.folder / name.replace(" ", "")
    folder.mkdir()
    plan = make_plan(configuration([], given, folder))
    measured = train.measure(plan, folder, scene.sized(*STEPS), scene.sized(*WARM_UP))
    summary, of_rank = train.summarize(plan, measured), train.table(plan, measured)
    shares = {kind: sum(row.shares[kind] for row in of_rank) / len(of_rank) for kind in KINDS}
    scene.found.row(
        layout=name,
        **{
            "tokens/s": summary.units_per_second,
            "TFLOP/s per device": summary.tflops_per_device,
            "share of the matmul ceiling": summary.share,
            "most memory of a rank (GiB)": summary.memory_gib,
            "planned (GiB)": max(stage.allocated for stage in plan.memory.stages) / 2**30,
        },
    )
    scene.found.share(name, shares)
    scene.found.check(name, summary.step_s > 0, f"{summary.step_s:.3g} s a step", "it trains")
