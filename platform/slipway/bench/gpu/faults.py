"""Part: a run's reaction to faults on this device: a batch that is not finite, a hang."""

from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.models import overrides
from slipway.bench.gpu.trainings import PLAIN, Batch, corpus, lines
from slipway.errors import EXIT_DONE, EXIT_FAULT
from slipway.run_dir import RunDir

STEPS, BATCH, BAD_STEP = 6, 8, 4
NUMBER = (BAD_STEP - 1) * BATCH  # the first sample of that step
HANG_SECONDS = 5.0


def faults(scene: Scene) -> None:
    """Damage a sample, and hang, in step 4; check how the guard and the watch react."""
    common = [*PLAIN, *overrides("demo", scene.here), *scene.here.cluster(), *corpus()]
    common += [f"training.steps={STEPS}"]
    job = {"not-finite": [*common, "guard.on_nonfinite=skip"]}
    code = Batch(job, scene.folder, spoil={"what": "nan", "number": NUMBER}).codes()["not-finite"]
    steps = lines(scene.folder / "not-finite")
    out = [line["step"] for line in steps if not line["updated"]]
    good = all(line["loss"] is not None for line in steps if line["updated"]) and len(steps) == STEPS
    scene.found.check(
        "a batch that is not finite is left out",
        code == EXIT_DONE and out == [BAD_STEP] and good,
        f"exit code {code}, no update in steps {out}, {len(steps)} steps",
        f"0, [{BAD_STEP}], {STEPS}",
    )

    ranks = min(2, scene.here.count)  # a second rank that waits shows which one hangs
    shared = [f"resources.devices_per_node={ranks}", "training.micro_batch_size=2"]
    _hangs(scene, "hang", [*common, *shared], [0] if ranks > 1 else [])
    if not scene.here.rehearse:
        _hangs(scene, "stall", common, [])
    for event in lines(scene.folder / "not-finite", "event"):
        if event["event"] == "skip":
            scene.found.row(fault="not finite", told=event["reason"])


def _hangs(scene: Scene, what: str, words: list[str], named: list[int]) -> None:
    """Train with a hang in step 4; check that the run ends.

    Checks for each rank's stack, and that the ranks that keep the others waiting are named.
    """
    limit = f"watch.hang_timeout_minutes={HANG_SECONDS / 60}"
    spoiled = {"what": what, "number": NUMBER}
    code = Batch({what: [*words, limit]}, scene.folder, spoil=spoiled).codes()[what]
    events = [line for line in lines(scene.folder / what, "event") if line["event"] == "hang"]
    found = [event["ranks"] for event in events]
    stacks = list(RunDir(scene.folder / what).hangs.glob("segment-*/rank-*.txt"))
    scene.found.check(
        f"a {what} ends the run and is told",
        code == EXIT_FAULT and found == [named] and len(stacks) == max(1, 2 * len(named)),
        f"exit code {code}, ranks {found}, {len(stacks)} stacks",
        f"{EXIT_FAULT}, [{named}]",
    )
    for event in events:
        scene.found.row(fault=what, told=event["reason"])
