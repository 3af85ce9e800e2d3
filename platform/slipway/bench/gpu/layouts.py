"""Part: each way to share a model out over this machine's devices trains the model of one device."""

from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.losses import largest_difference
from slipway.bench.gpu.models import overrides
from slipway.bench.gpu.trainings import NO_TF32, PLAIN, Batch, corpus, lines

STEPS = (6, 3)
LIMIT = 1e-4  # relative difference, fp32 without TF32
TENSOR, PIPELINE, CONTEXT, EXPERT = (
    f"parallelism.{name}_parallel_size=2"
    for name in ("tensor_model", "pipeline_model", "context", "expert_model")
)
SEQUENCE, SHARDED = "parallelism.sequence_parallel=true", "parallelism.use_distributed_optimizer=true"

# name -> devices, model, overrides
LAYOUTS: dict[str, tuple[int, str, list[str]]] = {
    "TP2": (2, "Llama", [TENSOR, SEQUENCE]),
    "PP2": (2, "Llama", [PIPELINE]),
    "DP2": (2, "Llama", [SHARDED, "parallelism.overlap_grad_reduce=true"]),
    "CP2": (2, "Llama", [CONTEXT]),
    "EP2": (2, "mixture", [EXPERT]),
    "TP2-PP2": (4, "Llama", [TENSOR, SEQUENCE, PIPELINE]),
    "CP2-DP2": (4, "Llama", [CONTEXT, SHARDED]),
    "TP2-EP2": (4, "mixture", [TENSOR, SEQUENCE, EXPERT]),
    "TP2-PP2-DP2": (8, "Llama", [TENSOR, SEQUENCE, PIPELINE, SHARDED]),
    "TP2-CP2-PP2": (8, "Llama", [TENSOR, SEQUENCE, CONTEXT, PIPELINE]),
}


def layouts(scene: Scene) -> None:
    """Train the same models on one device and in every layout that there are devices for; compare."""
    text = corpus()
    common = [*PLAIN, *scene.here.cluster(), *text, f"training.steps={scene.sized(*STEPS)}"]
    fitting = fit(scene.here.count)
    jobs = {}
    for model in sorted({LAYOUTS[name][1] for name in fitting}):
        jobs[f"{model}-on-one"] = [*common, *_model(scene, model)]
    for name in fitting:
        devices, model, words = LAYOUTS[name]
        jobs[name] = [*common, *_model(scene, model), *words, f"resources.devices_per_node={devices}"]
    codes = Batch(jobs, scene.folder, variables=NO_TF32).codes()
    for name in fitting:
        one = f"{LAYOUTS[name][1]}-on-one"
        if codes[name] or codes[one]:
            scene.found.check(name, False, f"exit codes {codes[one]} and {codes[name]}", "0 and 0")
            continue
        ours, theirs = lines(scene.folder / name), lines(scene.folder / one)
        loss, norm = (largest_difference(ours, theirs, key) for key in ("loss", "grad_norm"))
        scene.found.row(
            layout=name,
            devices=LAYOUTS[name][0],
            model=LAYOUTS[name][1],
            largest_difference_of_a_loss=loss,
            of_a_gradient_norm=norm,
        )
        scene.found.check(name, loss < LIMIT, f"{loss:.1e} from one device's", f"below {LIMIT:g}")


def fit(devices: int) -> list[str]:
    """Return the layouts that there are devices for."""
    return [name for name, (needed, _, _) in LAYOUTS.items() if needed <= devices]


def _model(scene: Scene, model: str) -> list[str]:
    return [*overrides(model, scene.here), "training.micro_batch_size=1"]
