"""The pods of a rendered Job run for real: podman plays its pod template, the test plays the Job's controller."""

import copy
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from container_tools import RUN, Image, good, measured, run, slipway
from slipway.config.compose import compose
from slipway.launch.kubernetes import manifests, to_text
from slipway.launch.placement import place
from slipway.plan import make_plan
from training import LAYOUT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

INDEX = "batch.kubernetes.io/job-completion-index"
NETWORK = "podman"  # the one that podman has from the start
ADDRESSES = ["10.88.253.10", "10.88.253.11"]
NODES = 2
STEPS = 20  # enough of them left for a signal to come before the end
LONG = "training.steps=2000"  # more than any of these tests lets it do


@pytest.fixture(scope="module")
def volume(work: Path) -> Path:
    """What would be the PersistentVolumeClaim, with its data prepared."""
    folder = work / "volume"
    folder.mkdir()
    root = Path(__file__).resolve().parents[2]
    for name, source in {"one": "README.md", "two": "docs/training.md"}.items():
        (folder / f"{name}.txt").write_bytes((root / source).read_bytes())
    good(slipway("data", *RUN, cwd=folder))
    subprocess.run(["chmod", "-R", "a+rwX", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(volume: Path) -> list[tuple[int, str, str]]:
    """The losses of the same run outside any pod, on one node."""
    good(slipway("train", *RUN, f"training.steps={STEPS}", "run.dir=outside", cwd=volume))
    return measured(volume / "outside")


def rendered(name: str, image: Image, *words: str) -> list[dict[str, Any]]:
    """The manifests of the run of all container tests, on two nodes with two ranks each."""
    on_pods = [f"{LAYOUT['ranks']}=2", f"resources.nodes={NODES}", "cluster=kubernetes", "launch.kind=job"]
    on_cpus = ["cluster.device.kind=cpu", "cluster.kubernetes.device_resource=null"]
    own = [f"run.name={name}", f"run.dir={name}", f"launch.image={image.tag}", *words]
    config = compose([*RUN, *on_pods, *on_cpus, *own])
    return manifests([make_plan(config)], place(config))


def as_podman_has_it(template: dict[str, Any], job: str, index: int, volume: Path) -> dict[str, Any]:
    """The pod of one index, as the Job's controller makes it of the template, and what podman 4.3 lacks of it.

    Podman has no claims (a folder instead), no fieldRef to a machine's name, no Service and no DNS for it (addresses
    in /etc/hosts instead), and publishes a pod's ports on the host. It keeps emptyDir on disk, in memory or not, as a
    volume that all pods of the machine know by its name, and so a ConfigMap: each pod gets its own. All else is as
    rendered.
    """
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
    pod["metadata"] |= {"name": f"{job}-{index}"}
    keep = {"io.podman.annotations.init.container.type": "always"}  # else it is removed with its log
    pod["metadata"]["annotations"] = pod["metadata"].get("annotations", {}) | {INDEX: str(index), **keep}
    spec = pod["spec"]
    spec["hostname"] = f"{job}-{index}"
    spec["hostAliases"] = [{"ip": ADDRESSES[0], "hostnames": [f"{job}-0.{spec['subdomain']}"]}]
    for entry in spec["volumes"]:
        entry["name"] = own(entry["name"], index)
        if "configMap" in entry:
            entry["configMap"]["name"] = own(entry["configMap"]["name"], index)
        if entry.pop("persistentVolumeClaim", None):
            entry["hostPath"] = {"path": str(volume)}
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        container.pop("ports", None)
        container["env"] = [v for v in container["env"] if v["name"] != "SLIPWAY_NODE_NAME"]
        mounts = container["volumeMounts"]  # of both containers: one list
        container["volumeMounts"] = [mount | {"name": own(mount["name"], index)} for mount in mounts]
    return pod


def own(name: str, index: int) -> str:
    """Of a volume: two pods that start at one moment cannot both make one that they share by its name."""
    return f"{name}-{index}"


class Pods:
    """A Job's pods in podman."""

    def __init__(self, found: list[dict[str, Any]], volume: Path, scratch: Path) -> None:
        (job,) = [manifest for manifest in found if manifest["kind"] == "Job"]
        self.maps = [manifest for manifest in found if manifest["kind"] == "ConfigMap"]
        self.template, self.name = job["spec"]["template"], job["metadata"]["name"]
        self.volume, self.scratch = volume, scratch

    def container(self, index: int, name: str = "node") -> str:
        return f"{self.name}-{index}-{name}"

    def start(self, *indices: int) -> None:
        """All at once: podman returns only when what comes before the training is done."""
        plays = []
        for index in indices:
            pod = as_podman_has_it(self.template, self.name, index, self.volume)
            path = self.scratch / f"{self.name}-{index}.yaml"
            maps = [one | {"metadata": {"name": own(one["metadata"]["name"], index)}} for one in self.maps]
            path.write_text(to_text([*maps, pod]))
            play = ["podman", "play", "kube", "--network", NETWORK, "--ip", ADDRESSES[index], str(path)]
            plays.append(subprocess.Popen(play, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        try:
            outputs = [play.communicate(timeout=120)[0] for play in plays]
            assert not any(play.returncode for play in plays), "\n".join(outputs)
        finally:
            for play in plays:
                play.kill()
                play.wait()

    def wait(self, index: int, seconds: float = 90) -> int:
        return int(good(run(["podman", "wait", self.container(index)], timeout=seconds)))

    def is_running(self, index: int) -> bool:
        inspect = ["podman", "inspect", self.container(index), "--format", "{{.State.Running}}"]
        return run(inspect).stdout.strip() == "true"

    def said(self, index: int, name: str = "node") -> str:
        done = run(["podman", "logs", self.container(index, name)])
        return done.stdout + done.stderr

    def remove(self) -> None:
        run(["podman", "pod", "rm", "--force", *(f"{self.name}-{index}" for index in range(NODES))])
        names = [one["metadata"]["name"] for one in self.maps]
        run(["podman", "volume", "rm", "--force", *(own(name, i) for name in names for i in range(NODES))])

    def until_step(self, step: int, seconds: float = 90) -> None:
        run_dir, limit = self.volume / self.name, time.monotonic() + seconds
        while not (run_dir / "metrics.jsonl").exists() or len(measured(run_dir)) < step:
            assert all(map(self.is_running, range(NODES))), self.said(0) + self.said(1)
            assert time.monotonic() < limit, self.said(0) + self.said(1)
            time.sleep(0.1)


@pytest.fixture
def pods(image: Image, volume: Path, tmp_path: Path) -> Iterator[Callable[..., Pods]]:
    made: list[Pods] = []

    def make(name: str, *words: str) -> Pods:
        made.append(Pods(rendered(name, image, *words), volume, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.remove()


def segments(run_dir: Path) -> list[int | None]:
    return [
        json.loads(path.read_text())["exit_code"] for path in sorted((run_dir / "segments").glob("*.json"))
    ]


def test_pods_share_no_volume_by_name() -> None:
    found = rendered("apart", Image("a/b:c", "", Path(), Path()), "launch.preflight=true")
    template = next(one for one in found if one["kind"] == "Job")["spec"]["template"]
    pods = [as_podman_has_it(template, "apart", index, Path("/volume")) for index in range(NODES)]
    named: list[set[str]] = []
    for pod in pods:
        volumes = pod["spec"]["volumes"]
        mounts = [
            m["name"]
            for c in pod["spec"]["initContainers"] + pod["spec"]["containers"]
            for m in c["volumeMounts"]
        ]
        assert set(mounts) == {one["name"] for one in volumes}
        maps = {one["configMap"]["name"] for one in volumes if "configMap" in one}
        named.append({*mounts, *maps})
    assert not named[0] & named[1]


def test_two_pods_train_and_go_on_after_one_is_killed(
    pods: Callable[..., Pods], volume: Path, undisturbed: list[tuple[int, str, str]]
) -> None:
    """The other one ends with a fault; both anew, as a JobSet's controller does, continue from the checkpoint."""
    found = pods("killed", f"training.steps={STEPS}", "checkpoint.interval=3")
    found.start(1)  # comes too early: its node 0 is not there
    limit = time.monotonic() + 60
    while "node 1: waiting for node 0 at killed-0.killed:29500" not in found.said(1):
        assert found.is_running(1) and time.monotonic() < limit, found.said(1)
        time.sleep(0.2)
    found.start(0)
    found.until_step(4)
    good(run(["podman", "kill", "--signal", "KILL", found.container(1)]))
    assert found.wait(1) == 137
    assert found.wait(0) == 1, found.said(0)
    assert "slipway: rank" in found.said(0)
    found.remove()
    found.start(0, 1)
    assert [found.wait(index) for index in range(NODES)] == [0, 0], found.said(0) + found.said(1)
    assert "continuing from" in found.said(0)
    assert measured(volume / "killed") == undisturbed
    assert segments(volume / "killed") == [1, 0]


def test_a_pod_that_is_stopped_ends_both_with_75_and_a_checkpoint(
    pods: Callable[..., Pods], volume: Path
) -> None:
    """As at a preemption: SIGTERM to one of them. Before, the doctor has found both pods well."""
    found = pods("stopped", LONG, "launch.preflight=true")
    found.start(0, 1)
    checks = found.said(0, "preflight")
    assert "2 nodes: stopped-0,stopped-1" in checks and "all-reduce" in checks.partition("Left out")[0], (
        checks
    )
    found.until_step(2)
    look = "id -u; touch /opt/slipway/new; touch /etc/slipway/new; cat /proc/1/status | grep CapEff"
    seen = run(["podman", "exec", found.container(0), "sh", "-c", look])
    assert seen.stdout.split()[0] == "1000" and seen.stdout.split()[-1] == "0" * 16
    assert seen.stderr.count("Read-only file system") == 2
    good(run(["podman", "stop", "--time", "60", found.container(1)], timeout=90))
    assert [found.wait(index) for index in range(NODES)] == [75, 75], found.said(0) + found.said(1)
    last = measured(volume / "stopped")[-1][0]
    assert (volume / "stopped" / "checkpoints" / f"step-{last:08d}" / "manifest.json").is_file()
    assert segments(volume / "stopped") == [75]
    assert os.stat(volume / "stopped" / "metrics.jsonl").st_uid == 1000


def test_a_users_mistake_is_exit_code_2(pods: Callable[..., Pods], volume: Path) -> None:
    """For which the Job fails at once."""
    found = pods("mistaken", "data.dir=nowhere")
    found.start(0)
    assert found.wait(0) == 2
    assert "nowhere" in found.said(0) and not (volume / "mistaken").exists()
