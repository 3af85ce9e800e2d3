"""Parts: `slipway doctor` on this machine, and the test that runs in the image."""

import json
import sys

from slipway import commands
from slipway.bench.gpu.child import Scene
from slipway.bench.gpu.device import environment
from slipway.shipped import shipped

TOGETHER = ("transport", "all-reduce", "node-all-reduce", "device-binding")
SECONDS = 3600.0  # longer than any part's own limit, which ends it first


def doctor(scene: Scene) -> None:
    """Run the doctor's checks of the machine, and of its devices together: rates and sums of collectives."""
    words = [*scene.here.cluster(), f"resources.devices_per_node={scene.here.count}", "model=demo"]
    words += ["run.dir=run"]
    kinds = {"this machine": []}
    if scene.here.count > 1:
        kinds["its devices together"] = ["--collectives"]
    for kind, more in kinds.items():
        command = [sys.executable, "-m", "slipway", "doctor", "--json", *more, *words]
        done = commands.call(command, seconds=SECONDS, environment=environment())
        print(done.errors, flush=True)
        try:
            checks = json.loads(done.output)["checks"]
        except (ValueError, KeyError):
            scene.found.check(kind, False, done.last, "an answer")
            continue
        faults = [check["name"] for check in checks if check["status"] == "fault"]
        seen = sum(check["status"] != "skipped" for check in checks)
        scene.found.check(
            kind,
            done.code == 0 and not faults,
            ", ".join(faults) or f"{seen} checks",
            "no fault of the doctor's",
        )
        for check in checks:
            if check["status"] != "skipped" and (not more or check["name"] in TOGETHER):
                scene.found.row(check=check["name"], status=check["status"], saw=check["saw"])


def smoke(scene: Scene) -> None:
    """Run the script that tests an image from within, in this environment."""
    script = shipped("containers", "smoke.py") / "smoke.py"
    caches = {"SLIPWAY_CACHE": str(scene.folder)}
    done = commands.call([sys.executable, str(script)], seconds=SECONDS, environment=environment() | caches)
    print(done.output, done.errors, flush=True)
    for line in done.output.splitlines():
        verdict, _, rest = line.partition(" ")
        what, _, saw = rest.strip().partition(": ")
        if verdict in ("ok", "FAIL") and saw:
            scene.found.check(what, verdict == "ok", saw)
    scene.found.check("the smoke test", done.code == 0, f"exit code {done.code}", 0)
