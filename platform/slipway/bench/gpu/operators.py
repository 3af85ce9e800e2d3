"""Part: each operator and backend at Llama 3 8B's shape, measured as by `slipway bench kernels`."""

from slipway.bench import kernels
from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.shapes import SHAPES, overrides
from slipway.bench.kernel_table import OPERATORS
from slipway.bench.options import configuration
from slipway.plan import make_plan

REPEAT = (8, 2)


def operators(scene: Scene) -> None:
    """Measure the rates of all operators in turn, against the ceilings."""
    words = [*overrides(SHAPES["llama-4096"], scene.here, layers=1), "training.global_batch_size=1"]
    plan = make_plan(configuration([], words, scene.folder))
    rows, summary = kernels.measure(plan, list(OPERATORS), scene.sized(*REPEAT), scene.folder)
    for one in rows:
        scene.found.row(
            operator=one.operator,
            backend=one.backend,
            **{
                "median (ms)": one.median_ms,
                "least (ms)": one.least_ms,
                "TFLOP/s": one.tflops,
                "GB/s": one.gigabytes_per_second,
                "ceiling": one.ceiling,
                "share": one.share,
                "memory (MiB)": one.memory_mib,
            },
        )
    scene.found.note(
        f"Ceilings: {summary.matmul_tflops:.3g} TFLOP/s (matrix product), "
        f"{summary.memory_gigabytes_per_second:.4g} GB/s (copy)."
    )
    for why, names in summary.not_measured.items():
        scene.found.note(f"Not measured ({why}): {names}.")
    measured = {one.operator for one in rows}
    scene.found.check("every operator is measured", measured == set(OPERATORS), len(measured), len(OPERATORS))
