"""Part: a run that stops and continues equals the run that did not stop, with checkpoints written beside training."""

from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.models import overrides
from slipway.bench.gpu.trainings import PLAIN, Batch, corpus, lines

STEPS, HALF = 8, 4
EXACT = ("step", "loss", "grad_norm", "learning_rate", "consumed_samples")
KINDS = {  # by the name of their directories
    "demo-fp32": ("demo", ["training.precision=fp32"]),
    "Llama-bf16-dropout": (
        "Llama",
        ["training.precision=bf16", "model.hidden_dropout=0.1", "parallelism.use_distributed_optimizer=true"],
    ),
}


def continuation(scene: Scene) -> None:
    """Train whole and twice, then stop half-way and continue; check for the same lines, bit for bit."""
    text, jobs = corpus(), {}
    for kind, (model, words) in KINDS.items():
        common = [*PLAIN, *overrides(model, scene.here), *scene.here.cluster(), *text, *words]
        common += [f"training.steps={STEPS}", "checkpoint.interval=2", "checkpoint.async_save=true"]
        jobs[f"{kind}-half"] = [*common, f"training.stop_after_step={HALF}"]
        jobs[f"{kind}-whole"] = common
        jobs[f"{kind}-again"] = common
    codes = Batch(jobs, scene.folder, deterministic=True).codes()
    later = {name: words[:-1] for name, words in jobs.items() if name.endswith("-half")}
    codes |= {
        f"{name}-on": code for name, code in Batch(later, scene.folder, deterministic=True).codes().items()
    }
    for name, code in codes.items():
        if code:
            scene.found.check(f"{name}: it trains", False, f"exit code {code}", 0)
    if any(codes.values()):
        return
    for kind in KINDS:
        whole, again, on = (_exact(scene, f"{kind}-{which}") for which in ("whole", "again", "half"))
        same = whole == again
        scene.found.check(
            f"{kind}: two undisturbed runs are the same",
            same,
            _told(whole, again),
            "bit for bit, deterministic",
        )
        scene.found.check(
            f"{kind}: stopped at {HALF} and continued", whole == on, _told(whole, on), "bit for bit"
        )
        saved = lines(scene.folder / f"{kind}-whole", "checkpoint")
        wanted = list(range(2, STEPS + 1, 2))
        scene.found.check(
            f"{kind}: checkpoints beside training",
            [one["step"] for one in saved] == wanted,
            len(saved),
            len(wanted),
        )
        scene.found.row(
            run=kind,
            steps=len(on),
            last_loss=on[-1][1],
            a_save_takes_s=max(one["seconds"] for one in saved),
            training_stands_still_s=max(one["stall_seconds"] for one in saved),
        )


def _exact(scene: Scene, name: str) -> list[tuple]:
    return [tuple(line[key] for key in EXACT) for line in lines(scene.folder / name)]


def _told(one: list[tuple], other: list[tuple]) -> str:
    if one == other:
        return f"{len(one)} steps alike"
    differ = [ours[0] for ours, theirs in zip(one, other, strict=False) if ours != theirs]
    return f"from step {differ[0]} on they differ" if differ else f"{len(one)} and {len(other)} steps"
