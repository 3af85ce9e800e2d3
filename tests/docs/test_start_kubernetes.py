"""docs/start/kubernetes.md is followed word by word with the real kubectl and the real trainer.

The API server is a stand-in (kubernetes_server.py), which is all that the trainer's process sees of a pod.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubernetes_server
from followed import Page
from kubernetes_server import Cluster, running

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(kubernetes_server.lacking()), reason="lacking: kubectl"),
]

KEY = ("jobsets", "default", "first")
POD = "first-node-0-0"
LABELS = {
    "jobset.sigs.k8s.io/jobset-name": "first",
    "app.kubernetes.io/name": "slipway",
    "batch.kubernetes.io/job-completion-index": "0",
}


class Kubelet:
    """What controllers and a kubelet do for a JobSet of one pod: start its command, keep its log, end it."""

    def __init__(self, cluster: Cluster, volume: Path) -> None:
        self.cluster, self.volume = cluster, volume
        self.codes: list[int] = []
        """Exit codes of the pods so far."""
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            job = self.cluster.objects.get(KEY)
            if job is not None and "status" not in job:
                self._run()

    def _run(self) -> None:
        job = self.cluster.objects[KEY]
        pod = job["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (name,) = [one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one]
        plan = self.volume / "plan.json"
        plan.write_text(self.cluster.objects["configmaps", "default", name]["data"]["plan.json"])
        words = [word.replace("/etc/slipway/plan.json", str(plan)) for word in container["args"]]
        given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        given |= {"SLIPWAY_NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "HOME": str(self.volume)}
        given["SLIPWAY_CACHE"] = str(self.volume / "cache")
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.volume,
            env={"PATH": os.environ["PATH"], **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.cluster.ended.discard(POD)
        lines = self.cluster.logs[POD] = []
        job["status"] = {"replicatedJobsStatus": [{"name": "node", "active": 1, "ready": 1}]}
        self.cluster.pod_of("jobsets", "first", POD, **LABELS)
        self.cluster.objects["pods", "default", POD]["spec"] = {"containers": [{"name": "node"}]}
        reader = threading.Thread(target=lambda: lines.extend(line.rstrip() for line in process.stdout or ()))
        reader.start()
        told = False
        while process.poll() is None:
            gone = KEY not in self.cluster.objects or "deletionTimestamp" in job["metadata"]
            if not told and (gone or self.over.is_set()):
                process.send_signal(signal.SIGTERM)
                told = True
            self.over.wait(0.05)
        reader.join()
        self.codes.append(process.returncode)
        self.cluster.ended.add(POD)
        if "deletionTimestamp" in job["metadata"]:
            self.cluster.objects.pop(("pods", "default", POD), None)
            self.cluster.objects.pop(KEY, None)
        elif KEY in self.cluster.objects:
            kind = "Completed" if process.returncode == 0 else "Failed"
            job["status"] = {"conditions": [{"type": kind, "status": "True"}]}


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    volume = tmp_path / "volume"
    volume.mkdir()
    words = ["data", "data=stdlib", "model=demo"]
    subprocess.run([sys.executable, "-m", "slipway", *words], cwd=volume, check=True, capture_output=True)
    with running(tmp_path) as cluster:
        cluster.lingering = 60.0  # the pod ends before
        found = Kubelet(cluster, volume)
        found.thread.start()
        yield found
        found.over.set()
        found.thread.join(60)


def test_the_page(kubelet: Kubelet, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    config = str(kubelet.cluster.write_config("ours"))
    Page("docs/start/kubernetes.md").follow(
        home, {"HOME": str(home), "PATH": path, "KUBECONFIG": config, "LANG": "C.UTF-8"}
    )
    assert kubelet.codes == [75, 0]
