"""Submissions to Kubernetes by the real kubectl: all of a run's objects are made, or none is left.

The server is a stand-in (kubernetes_server.py): it keeps what it is given, refuses what it is told to, runs nothing.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubernetes_server
from kubernetes_server import Cluster, running
from refusals import check_line
from slipway.cli import main
from slipway.launch.submission import kubernetes as kubernetes_submission
from slipway.runs import cancel as cancelling
from slipway.runs import ending

pytestmark = pytest.mark.skipif(bool(kubernetes_server.lacking()), reason="lacking: kubectl")

WORDS = ["launch", "--submit", "cluster=gke", "model=demo", "launch.image=registry/slipway:1"]
RESOURCES = {"job": "jobs", "jobset": "jobsets", "trainjob": "trainjobs"}
NEEDED = {"job": ["services"], "jobset": [], "trainjob": ["trainingruntimes"]}
SWEEP = ["-m", "training.seed=1,2,3"]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.chdir(tmp_path)
    for waits in (ending, cancelling):
        monkeypatch.setattr(waits, "POLL_SECONDS", 0.05)
    with running(tmp_path) as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.write_config("ours")))
        monkeypatch.setenv("HOME", str(tmp_path))  # of kubectl's cache
        yield cluster


def given(cluster: Cluster, resource: str, name: str) -> dict:
    """The plan.json that a workload's pods are given."""
    text = json.dumps(
        [one for key, one in cluster.objects.items() if key[0] != "configmaps" and key[2] == name]
    )
    (map_,) = [one for one in cluster.names("configmaps") if f'"{one}"' in text]
    return json.loads(cluster.objects["configmaps", "default", map_]["data"]["plan.json"])


@pytest.mark.parametrize(
    ("kind", "more"),
    [("job", []), ("jobset", ["cluster.kubernetes.queueing=volcano"]), ("trainjob", []), ("jobset", SWEEP)],
)
def test_all_is_made_and_all_goes(kind: str, more: list[str], cluster: Cluster, capsys) -> None:
    """Also what a sweep shares, with its last run."""
    assert main([*WORDS, f"launch.kind={kind}", *more]) == 0, capsys.readouterr().err
    runs = cluster.names(RESOURCES[kind])
    assert len(runs) == (3 if more == SWEEP else 1) and len(cluster.names("configmaps")) == 1
    for resource in NEEDED[kind]:
        assert cluster.names(resource) == runs
    names = [path.parent.name for path in sorted(Path("runs").glob("*/launch.json"))]
    assert len(names) == len(runs)
    for number, name in enumerate(names):
        assert cluster.names("configmaps"), "shared by those that are left"
        assert main(["runs", "cancel", name]) == 0, capsys.readouterr().err
        assert len(cluster.names(RESOURCES[kind])) == len(runs) - number - 1
    assert cluster.objects == {}


@pytest.mark.parametrize(("kind", "sweep"), [("job", False), ("jobset", True), ("trainjob", False)])
def test_an_earlier_content_is_never_taken_for_this_one(
    kind: str, sweep: bool, cluster: Cluster, capsys
) -> None:
    """The workload went by its time to live, or by hand; the rest stayed, and cannot be changed."""
    words = [*WORDS, f"launch.kind={kind}", *(SWEEP if sweep else [])]
    assert main([*words, "training.steps=10"]) == 0
    for name in cluster.names(RESOURCES[kind]):
        del cluster.objects[RESOURCES[kind], "default", name]
    assert main([*words, "training.steps=20"]) == 0, capsys.readouterr().err
    for name in cluster.names(RESOURCES[kind]):
        assert given(cluster, RESOURCES[kind], name)["config"]["training"]["steps"] == 20
    for path in sorted(Path("runs").glob("*/launch.json")):
        assert main(["runs", "cancel", path.parent.name]) == 0
    assert cluster.objects == {}


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["launch.kind=job"], ("services", "")),
        (["launch.kind=job"], ("jobs", "")),
        (["launch.kind=trainjob"], ("trainjobs", "")),
        (SWEEP, ("jobsets", "seed-2")),
        (SWEEP, ("configmaps", "")),
    ],
)
def test_what_is_refused_leaves_nothing(words: list[str], refused: tuple, cluster: Cluster, capsys) -> None:
    """Not in the cluster, and not in the records."""
    cluster.refused = {refused: 403}
    assert main([*WORDS, *words]) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "exceeded quota" in err, err
    assert cluster.objects == {} and not list(Path("runs").glob("*"))


def test_a_kind_that_the_cluster_does_not_know(cluster: Cluster, capsys) -> None:
    """Nothing of it is made, and another kind starts with its own plan.json."""
    cluster.apis = {name: one for name, one in cluster.apis.items() if "trainer" not in name}
    assert main([*WORDS, "launch.kind=trainjob", "training.steps=10"]) == 1
    assert "TrainJob" in capsys.readouterr().err and cluster.objects == {}
    assert main([*WORDS, "launch.kind=job", "training.steps=20"]) == 0
    assert given(cluster, "jobs", "demo")["config"]["training"]["steps"] == 20


def test_what_was_there_before_stays(cluster: Cluster, capsys) -> None:
    """Another's run of this name is neither changed nor removed; nor is what a failed submission did not make."""
    cluster.add("jobsets", "demo", spec={"mine": True})
    assert main(WORDS) == 2
    check_line(capsys.readouterr().err, "run.name", "jobset.jobset.x-k8s.io/demo")
    assert (
        cluster.objects["jobsets", "default", "demo"]["spec"] == {"mine": True} and len(cluster.objects) == 1
    )
    del cluster.objects["jobsets", "default", "demo"]
    cluster.add("services", "demo", spec={})
    cluster.refused = {("jobs", ""): 403}
    assert main([*WORDS, "launch.kind=job"]) == 1
    assert list(cluster.objects) == [("services", "default", "demo")]


def test_silence_is_recorded(cluster: Cluster, capsys, monkeypatch) -> None:
    """What may be there is the run's: `runs cancel` knows it."""
    monkeypatch.setattr(kubernetes_submission, "SECONDS", 2.0)
    cluster.silent = {"jobsets": 5.0}
    assert main(WORDS) == 1
    assert "counts as submitted" in capsys.readouterr().err and cluster.names("jobsets") == ["demo"]
    assert main(["runs", "cancel", "demo"]) == 0, capsys.readouterr().err
    assert cluster.objects == {}


@pytest.mark.parametrize("where", ["runs/demo/launch.json", "runs"])
def test_a_record_that_cannot_be_written_comes_before_the_submission(
    where: str, cluster: Cluster, capsys
) -> None:
    """Not "submitted, but not recorded": nothing is submitted."""
    path = Path(where)
    if path.suffix:
        path.mkdir(parents=True)
    else:
        path.write_text("")
    assert main(WORDS) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "runs" in err and cluster.objects == {}


def test_while_pods_end_there_is_no_second_run_of_the_name(cluster: Cluster, capsys) -> None:
    """Two pods of one name would be one address to the others."""
    cluster.lingering = 60.0
    assert main(WORDS) == 0
    cluster.pod_of("jobsets", "demo", "demo-node-0-0", **{"app.kubernetes.io/name": "slipway"})
    assert main(["runs", "cancel", "demo", "--no-wait"]) == 0
    assert main(WORDS) == 2
    assert "being deleted" in capsys.readouterr().err or cluster.names("jobsets") == ["demo"]
    del cluster.objects["jobsets", "default", "demo"]  # as after a deletion in the background
    assert main(WORDS) == 2
    assert "1 pods of an earlier launch have not ended (demo-node-0-0)" in capsys.readouterr().err
    assert cluster.names("jobsets") == []
    del cluster.objects["pods", "default", "demo-node-0-0"]
    assert main(WORDS) == 0, capsys.readouterr().err


def test_cancel_waits_for_the_pods(cluster: Cluster, capsys) -> None:
    """And says so; then the run can be launched again at once."""
    cluster.lingering = 3.0
    assert main(WORDS) == 0
    for index in range(2):
        cluster.pod_of(
            "jobsets", "demo", f"demo-node-0-{index}", **{"jobset.sigs.k8s.io/jobset-name": "demo"}
        )
    capsys.readouterr()
    assert main(["runs", "cancel", "demo"]) == 0
    out, err = capsys.readouterr()
    assert "demo-node-0-0" in err and out.count("cancelled JobSet/demo") == 1
    assert cluster.objects == {}
    assert main(WORDS) == 0


def test_pods_that_do_not_go_are_a_fault_after_their_time(cluster: Cluster, capsys, monkeypatch) -> None:
    monkeypatch.setattr(ending, "SLACK_SECONDS", -29.0)  # 30 s are given where the pod does not say
    cluster.lingering = 60.0
    assert main(WORDS) == 0
    cluster.pod_of("jobsets", "demo", "demo-node-0-0", **{"jobset.sigs.k8s.io/jobset-name": "demo"})
    assert main(["runs", "cancel", "demo"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    check_line(line, "runs cancel demo", "1 s", "demo-node-0-0")
    assert main(["runs", "cancel", "demo"]) == 1  # the second one waits for what the first one left
    for key in list(cluster.objects):
        del cluster.objects[key]
    assert main(["runs", "cancel", "demo"]) == 2
