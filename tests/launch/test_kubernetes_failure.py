"""What becomes of a pod that ends, whichever container ended it; the controllers' rules are from their documents."""

import itertools
import re
from typing import Any

import pytest

from launch.test_kubernetes import KINDS, base, changed, one, pod_template, render
from slipway.config.compose import compose
from slipway.launch.kubernetes.volume import preparation

CONTAINERS = ("preflight", "node")


def job_and_policy(kind: str, **launch: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Spec of the Job with the pods, and the failure policy of the JobSet above it."""
    found = render(changed(base(), launch={"kind": kind, "preflight": True, **launch}))
    if kind == "job":
        return one(found, "Job")["spec"], None
    spec = one(found, "JobSet" if kind == "jobset" else "TrainingRuntime")["spec"]
    spec = spec if kind == "jobset" else spec["template"]["spec"]
    return spec["replicatedJobs"][0]["template"]["spec"], spec["failurePolicy"]


def of_pod(job: dict[str, Any], ended: dict[str, int], disrupted: bool = False) -> tuple[str, str, str]:
    """What a Job does about a failed pod: the action, its reason and its message, as the first rule that matches says.

    ended: exit codes by container, init containers too (kubernetes.io/docs/concepts/workloads/controllers/job, Pod
    failure policy; the API's documentation of onExitCodes: without containerName a rule applies to all containers,
    those that succeeded are left out). The words are the Job controller's (pkg/controller/job/pod_failure_policy.go).
    """
    for index, rule in enumerate(job["podFailurePolicy"]["rules"]):
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions", [])
        matching = f"matching {rule['action']} rule at index {index}"
        if codes:
            for name, code in ended.items():
                if codes.get("containerName", name) == name and code in codes["values"] and code != 0:
                    assert codes["operator"] == "In"
                    said = f"Container {name} for pod default/demo-0-abcde failed with exit code {code} {matching}"
                    return rule["action"], "PodFailurePolicy", said
        if disrupted and {"type": "DisruptionTarget", "status": "True"} in conditions:
            said = f"Pod default/demo-0-abcde has condition DisruptionTarget {matching}"
            return rule["action"], "PodFailurePolicy", said
    assert job["backoffLimit"] == 0 or job["backoffLimit"] == 2
    return "Count", "BackoffLimitExceeded", "Job has reached the specified backoff limit"


def of_job(policy: dict[str, Any], reason: str, message: str) -> str:
    """What a JobSet does about a failed Job: the first rule that matches, as its documentation has it."""
    for rule in policy["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [])
        if reason in rule.get("onJobFailureReasons", [reason]) and (
            not patterns or any(re.search(pattern, message) for pattern in patterns)
        ):
            return rule["action"]
    return "RestartJobSet"


UNCHARGED, CHARGED, FAILED = "RestartJobSetAndIgnoreMaxRestarts", "RestartJobSet", "FailJobSet"


@pytest.mark.parametrize(("kind", "container"), list(itertools.product(KINDS, CONTAINERS)))
def test_each_container_decides_by_its_exit_code(kind: str, container: str) -> None:
    job, policy = job_and_policy(kind, chain=4)
    assert job["backoffLimit"] == 0
    before = {} if container == "preflight" else {"preflight": 0}
    actions = {
        name: of_pod(job, {**before, container: code}, disrupted)
        for name, code, disrupted in [
            ("mistake", 2, False),
            ("saved", 75, False),
            ("evicted", 143, True),
            ("saved while evicted", 75, True),
            ("fault", 1, False),
            ("out of memory", 137, False),
        ]
    }
    if policy is None:  # a Job replaces its pods by itself where that makes a whole gang of them
        assert {name: action for name, (action, _, _) in actions.items()} == {
            "mistake": "FailJob",
            "saved": "Ignore",
            "evicted": "Ignore",
            "saved while evicted": "Ignore",
            "fault": "Count",
            "out of memory": "Count",
        }
        return
    assert policy["maxRestarts"] == 3 and policy["restartStrategy"] == "BlockingRecreate"
    assert {name: of_job(policy, reason, said) for name, (_, reason, said) in actions.items()} == {
        "mistake": FAILED,
        "saved": UNCHARGED,
        "evicted": UNCHARGED,
        "saved while evicted": UNCHARGED,
        "fault": CHARGED,
        "out of memory": CHARGED,
    }
    assert all(action == "FailJob" for action, reason, _ in actions.values() if reason == "PodFailurePolicy")


@pytest.mark.parametrize("kind", ["jobset", "trainjob"])
def test_words_that_change_charge(kind: str) -> None:
    """Should the Job controller say it otherwise one day: bounded, not endless."""
    _, policy = job_and_policy(kind)
    assert policy and of_job(policy, "PodFailurePolicy", "in other words") == CHARGED
    assert of_job(policy, "AnotherReason", "") == CHARGED


@pytest.mark.parametrize(
    ("kind", "preflight"), list(itertools.product(["jobset", "trainjob"], [False, True]))
)
def test_the_trainers_clock_is_the_first(kind: str, preflight: bool) -> None:
    """The Job's starts earlier: what comes before the trainer and after it is added, and its end is not charged."""
    job, policy = job_and_policy(kind, time_limit=90, preflight=preflight)
    pod = job["template"]["spec"]
    timeouts = [
        int(words[words.index("--timeout") + 1])
        for words in (check["args"] for check in pod.get("initContainers", []))
    ]
    assert len(timeouts) == preflight
    machines_and_image = 30 * 60
    least = 90 * 60 + 2 * sum(timeouts) + pod["terminationGracePeriodSeconds"] + machines_and_image
    assert job["activeDeadlineSeconds"] >= least
    said = "Job was active longer than specified deadline"
    assert policy and of_job(policy, "DeadlineExceeded", said) == UNCHARGED


def test_nothing_has_a_deadline_that_would_end_the_run() -> None:
    """A Job that restarts itself fails for good at its deadline, and so does a TrainJob in a runtime that decides."""
    job, _ = job_and_policy("job", time_limit=90)
    runtime = {"kubernetes": {"runtime_ref": "torch-distributed"}}
    train_job = render(
        changed(base(), launch={"kind": "trainjob", "time_limit": 90, "preflight": False}, cluster=runtime)
    )[1]["spec"]
    assert "activeDeadlineSeconds" not in job and "activeDeadlineSeconds" not in train_job
    for words in (job["template"]["spec"]["containers"][0]["args"], train_job["trainer"]["args"]):
        assert words[-1] == "config.run.time_limit_minutes=90"  # trainers stop by themselves all the same
    assert "activeDeadlineSeconds" not in job_and_policy("jobset")[0]


def test_a_shorter_wall_time_of_the_runs_own_stays() -> None:
    found = render(changed(base(), launch={"time_limit": 90}, run={"time_limit_minutes": 30}))
    assert not [word for word in pod_template(found)["spec"]["containers"][0]["args"] if "time_limit" in word]


def test_preparing_data_is_not_tried_again_after_a_mistake() -> None:
    job = preparation(compose(["cluster=kubernetes"]), "a/b:c", ["data=stdlib"])["spec"]
    assert of_pod(job, {"data": 2})[0] == "FailJob"
    assert of_pod(job, {"data": 143}, disrupted=True)[0] == "Ignore"
    assert of_pod(job, {"data": 1})[0] == "Count" and job["backoffLimit"] > 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # what a pod failure policy asks for


@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_names_each_port_once(kind: str) -> None:
    spec = pod_template(render(changed(base(), launch={"kind": kind, "preflight": True})))["spec"]
    ports = [
        port["name"]
        for one in [*spec["initContainers"], *spec["containers"]]
        for port in one.get("ports", [])
    ]
    assert len(ports) == len(set(ports)) <= 1
