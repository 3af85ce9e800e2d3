"""`slipway runs` over resources of Kubernetes, by the real kubectl.

The server is a stand-in (kubernetes_server.py): it serves the states that are written here and runs nothing. That
clusters write them so is taken from the documentation of Job, JobSet and TrainJob, and not shown.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubernetes_server
from kubernetes_server import Cluster, running
from refusals import check_line
from slipway.cli import main
from slipway.launch import record
from slipway.launch.record import Submission
from slipway.launch.schedulers import asking, kubernetes
from slipway.plan.facts import Facts
from slipway.runs import logs, overview

pytestmark = pytest.mark.skipif(bool(kubernetes_server.lacking()), reason="lacking: kubectl")

JOBSET = {"jobset.sigs.k8s.io/jobset-name": "alpha"}
INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.chdir(tmp_path)
    with running(tmp_path) as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.write_config("ours", "other")))
        monkeypatch.setenv("HOME", str(tmp_path))  # of kubectl's cache
        yield cluster


def submit(name: str = "alpha", kind: str = "JobSet", **more: object) -> Path:
    folder = Path("runs") / name
    facts = Facts(name=name, model="demo", steps=100, nodes=2, world_size=8, layout={"TP": 2, "DP": 4})
    values = {
        "context": "ours",
        "namespace": "ml",
        "submitted": time.time(),
        "image": "registry/slipway",
        **more,
    }
    record.add(
        folder,
        Submission.model_validate(
            {
                "scheduler": "kubernetes",
                "cluster": "gke",
                "kind": kind,
                "name": name,
                "facts": facts,
                **values,
            }
        ),
    )
    return folder


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main(["runs", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def condition(kind: str, message: str = "", status: str = "True") -> dict[str, str]:
    return {"type": kind, "status": status, "message": message, "lastTransitionTime": "2026-01-02T05:04:05Z"}


def replicated(ready: int, **more: int) -> dict[str, object]:
    return {"replicatedJobsStatus": [{"name": "node", "ready": ready, "succeeded": 0, **more}]}


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("Job", {}, ("pending", "0 of 2 pods ready")),
        ("Job", {"active": 2, "ready": 1}, ("pending", "1 of 2 pods ready")),
        ("Job", {"active": 2, "ready": 2}, ("running", None)),
        ("Job", {"succeeded": 2, "conditions": [condition("Complete")]}, ("finished", None)),
        ("Job", {"conditions": [condition("Failed", "exit code 2")]}, ("failed", "exit code 2")),
        ("Job", {"conditions": [condition("Failed", status="False")]}, ("pending", "0 of 2 pods ready")),
        ("JobSet", {"conditions": [condition("Suspended")]}, ("pending", "suspended")),
        ("JobSet", replicated(0), ("pending", "0 of 1 jobs ready")),
        ("JobSet", replicated(1), ("running", None)),
        ("JobSet", {**replicated(0), "restarts": 2}, ("requeued", "0 of 1 jobs ready")),
        ("JobSet", {"conditions": [condition("Completed")]}, ("finished", None)),
        (
            "JobSet",
            {"conditions": [condition("Failed", "too many restarts")]},
            ("failed", "too many restarts"),
        ),
        ("TrainJob", {"conditions": [condition("Suspended")]}, ("pending", "suspended")),
        ("TrainJob", {"jobsStatus": [{"name": "node", "ready": 1}]}, ("running", None)),
        ("TrainJob", {"conditions": [condition("Complete")]}, ("finished", None)),
    ],
)
def test_states_of_resources(kind: str, status: dict, expected: tuple[str, str | None]) -> None:
    spec = {"Job": {"parallelism": 2}, "JobSet": {"replicatedJobs": [{"name": "node", "replicas": 1}]}}
    metadata = {"name": "alpha", "creationTimestamp": "2026-01-02T03:04:05Z"}
    state = kubernetes.read_resource(
        {"kind": kind, "metadata": metadata, "spec": spec.get(kind, {}), "status": status}
    )
    assert (state.word, state.detail or None) == expected
    if state.word in ("finished", "failed"):
        assert state.end == 1767330245.0  # 2026-01-02T05:04:05Z
    if state.word == "running":
        assert state.start == 1767323045.0
    if kind == "JobSet" and "restarts" in status:
        assert state.restarts == 2


def test_runs_of_all_kinds_by_one_call(cluster: Cluster, capsys) -> None:
    cluster.add("jobs", "one", "ml", spec={"parallelism": 2}, status={"active": 2, "ready": 2})
    cluster.add("jobsets", "two", "ml", spec={}, status=replicated(0))
    cluster.add("trainjobs", "three", "ml", spec={}, status={"conditions": [condition("Complete")]})
    for name, kind in (("one", "Job"), ("two", "JobSet"), ("three", "TrainJob"), ("four", "Job")):
        submit(name, kind)
    runs = {run["name"]: run for run in shown(capsys)["runs"]}
    assert {name: run["scheduler"]["state"] for name, run in runs.items()} == {
        "one": "running",
        "two": "pending",
        "three": "finished",
        "four": "ended",
    }
    assert runs["one"]["scheduler"]["id"] == "Job/one" and runs["one"]["state"] == "submitted"
    assert len(cluster.asked) == 4  # a request a name, none for pods
    assert main(["runs"]) == 0
    assert "JobSet/two pending (0 of 1 jobs ready)" in capsys.readouterr().out


def test_a_sweep_is_asked_for_as_a_whole(cluster: Cluster, capsys) -> None:
    for number in range(kubernetes.BY_NAME + 1):
        labels = {"app.kubernetes.io/name": "slipway"}
        cluster.add(
            "jobs", f"job-{number}", "ml", labels=labels, spec={"parallelism": 1}, status={"ready": 1}
        )
        submit(f"job-{number}", "Job")
    assert {run["scheduler"]["state"] for run in shown(capsys)["runs"]} == {"running"}
    assert len(cluster.asked) == 1


def test_what_pods_wait_for(cluster: Cluster, capsys) -> None:
    cluster.add("jobsets", "alpha", "ml", spec={}, status=replicated(0))
    message = "0/9 nodes are available: 9 Insufficient nvidia.com/gpu."
    waits = {"conditions": [{**condition("PodScheduled", message, "False"), "reason": "Unschedulable"}]}
    cluster.add("pods", "alpha-0", "ml", labels=JOBSET, spec={"nodeName": "gpu-7"}, status={})
    cluster.add("pods", "alpha-1", "ml", labels=JOBSET, spec={}, status=waits)
    cluster.add("pods", "beta-0", "ml", labels={}, spec={"nodeName": "gpu-8"}, status={})
    submit()
    (job,) = shown(capsys, "show", "alpha")["jobs"]
    assert (job["state"], job["detail"], job["nodes"]) == ("pending", f"Unschedulable: {message}", "gpu-7")
    image = {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
    cluster.add("pods", "alpha-1", "ml", labels=JOBSET, spec={}, status=image)
    assert shown(capsys, "show", "alpha")["jobs"][0]["detail"] == "ImagePullBackOff"


def test_logs_are_those_of_the_ranks_pod(cluster: Cluster, capfd) -> None:
    for index in range(2):
        cluster.add("pods", f"alpha-{index}", "ml", labels={**JOBSET, INDEX: str(index)}, status={})
        cluster.objects["pods", "ml", f"alpha-{index}"]["spec"] = {"containers": [{"name": "trainer"}]}
        cluster.logs[f"alpha-{index}"] = [f"pod {index} line {number}" for number in range(200)]
    submit()
    assert main(["runs", "logs", "alpha", "--lines", "2"]) == 0
    assert capfd.readouterr().out.splitlines() == ["pod 0 line 198", "pod 0 line 199"]
    assert main(["runs", "logs", "alpha", "--lines", "1", "--rank", "4"]) == 0  # 4 ranks a pod
    assert capfd.readouterr().out.splitlines() == ["pod 1 line 199"]
    assert main(["runs", "logs", "alpha", "--lines", "1", "--rank", "5"]) == 2  # not another rank's lines
    out, err = capfd.readouterr()
    assert out == ""
    check_line(err, "runs logs alpha")
    (Path("runs/alpha") / "logs").mkdir()
    (Path("runs/alpha") / "logs/rank-00005.log").write_text("I am 5\n")  # where the volume is in reach
    assert main(["runs", "logs", "alpha", "--rank", "5"]) == 0
    assert capfd.readouterr().out.splitlines() == ["I am 5"]
    assert main(["runs", "logs", "alpha", "--rank", "8"]) == 2
    check_line(capfd.readouterr().err, "runs logs --rank", 8, "0 to 7")

    words = [sys.executable, "-m", "slipway", "runs", "logs", "alpha", "-n", "0", "--follow"]
    follower = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        deadline = time.monotonic() + 20
        while not any("follow=true" in one for one in cluster.asked) and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster.logs["alpha-0"].append("one more")
        assert follower.stdout.readline() == "one more\n"
        cluster.ended.add("alpha-0")
        assert follower.wait(20) == 0
    finally:
        follower.kill()
        follower.wait()


def test_a_rank_that_prints_into_a_file_is_read_in_its_pod(cluster: Cluster, monkeypatch) -> None:
    """The command is looked at: kubectl's exec asks for more than the stand-in serves."""
    submit(run_dir="runs/elsewhere")
    for index in range(2):
        labels, status = {**JOBSET, INDEX: str(index)}, {"phase": "Running"}
        cluster.add("pods", f"alpha-{index}", "ml", labels=labels, spec={}, status=status)
    run = overview.look(Path("runs/alpha"), time.time())
    (job,) = logs.jobs_of(run.dir)
    pod = logs._pod_of(run, logs.pods_command(run, job, 7, 6, False))
    words = logs.file_command(run, job, 7, 6, True, pod)
    assert words[-7:] == ["exec", "pod/alpha-1", "--", "tail", "--lines=7", "--follow=name", words[-1]]
    assert words[-1] == "runs/elsewhere/logs/rank-00006.log" and "--namespace=ml" in words


def test_cancel_deletes_the_resource(cluster: Cluster, capsys) -> None:
    cluster.add("jobsets", "alpha", "ml", spec={}, status=replicated(1))
    cluster.add("jobsets", "beta", "ml", spec={}, status=replicated(1))
    for name in ("alpha", "beta"):
        cluster.add("configmaps", name, "ml", data={})
    submit(others=["ConfigMap/alpha"])
    assert main(["runs", "cancel", "alpha", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("kubectl --context=ours --namespace=ml ")
    assert ("jobsets", "ml", "alpha") in cluster.objects
    assert main(["runs", "cancel", "alpha"]) == 0
    assert "cancelled JobSet/alpha: was running" in capsys.readouterr().out
    assert set(cluster.objects) == {("jobsets", "ml", "beta"), ("configmaps", "ml", "beta")}
    assert main(["runs", "cancel", "alpha"]) == 2
    error = capsys.readouterr().err
    assert "nothing is queued or running: JobSet/alpha is ended (no such JobSet any more)" in error


def test_what_has_failed_is_removed(cluster: Cluster, capsys) -> None:
    cluster.add("jobs", "alpha", "ml", spec={}, status={"conditions": [condition("Failed", "exit code 2")]})
    submit(kind="Job")
    assert main(["launch", "--submit", "cluster=gke", "model=demo", "run.name=alpha"]) == 2
    check_line(capsys.readouterr().err, "run.dir", "alpha", "Job/alpha", "`slipway runs cancel alpha`")
    assert main(["runs", "cancel", "alpha"]) == 0
    assert "removed Job/alpha: was failed (exit code 2)" in capsys.readouterr().out
    assert cluster.objects == {}
    assert main(["runs", "cancel", "alpha"]) == 2


def test_what_does_not_answer_is_unknown(cluster: Cluster, capsys, monkeypatch) -> None:
    cluster.add("jobs", "alpha", "ml", spec={}, status={"ready": 1})
    submit(kind="Job")
    submit("nowhere", "Job", context="missing")
    cluster.apis.pop("jobset.x-k8s.io/v1alpha2")
    submit("lacking", "JobSet", namespace="two")
    found = {run["name"]: run["scheduler"] for run in shown(capsys)["runs"]}
    assert found["alpha"]["state"] == "running"
    assert found["nowhere"]["state"] == found["lacking"]["state"] == "unknown"
    assert 'context "missing" does not exist' in found["nowhere"]["detail"]
    assert "have a resource type" in found["lacking"]["detail"]
    cluster.delay = 5.0
    monkeypatch.setattr(kubernetes, "SECONDS", 1.0)
    assert main(["runs", "cancel", "alpha"]) == 2
    assert "unknown (" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert {run["scheduler"]["detail"] for run in shown(capsys)["runs"]} == {"kubectl not found"}
    assert asking.SECONDS == 10.0
