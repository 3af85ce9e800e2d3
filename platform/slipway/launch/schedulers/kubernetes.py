"""States of Jobs, JobSets and TrainJobs: one call of kubectl per namespace, and one more for what pods wait for."""

import calendar
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.launch.record import Submission
from slipway.launch.schedulers.asking import SECONDS, SchedulerUnavailable, ask
from slipway.launch.schedulers.job_state import JobState

RESOURCES = {
    "Job": "jobs.batch",
    "JobSet": "jobsets.jobset.x-k8s.io",
    "TrainJob": "trainjobs.trainer.kubeflow.org",
}
POD_LABELS = {  # a TrainJob makes a JobSet of its own name
    "Job": "batch.kubernetes.io/job-name",
    "JobSet": "jobset.sigs.k8s.io/jobset-name",
    "TrainJob": "jobset.sigs.k8s.io/jobset-name",
}
OURS = "app.kubernetes.io/name=slipway"
BY_NAME = 20  # kubectl asks the server once for each name: for more, the whole kind is asked for

Key = tuple[str | None, str | None, str | None, str | None]


def key(submission: Submission) -> Key:
    """Return what tells one resource from all others: context, namespace, kind and name."""
    return submission.context, submission.namespace, submission.kind, submission.name


def kubectl(submission: Submission) -> list[str]:
    """Return the beginning of a kubectl command for the submission's cluster and namespace."""
    context = [f"--context={submission.context}"] if submission.context else []
    namespace = [f"--namespace={submission.namespace}"] if submission.namespace else []
    return ["kubectl", *context, *namespace, f"--request-timeout={SECONDS:.0f}s"]


def get_command(submissions: Sequence[Submission]) -> list[str]:
    """Return one kubectl command that gets the resources of one namespace."""
    words = [f"{RESOURCES[one.kind or 'Job']}/{one.name}" for one in submissions]
    if len(words) > BY_NAME:
        words = [",".join(dict.fromkeys(word.split("/")[0] for word in words)), f"--selector={OURS}"]
    return [*kubectl(submissions[0]), "get", *words, "--output=json", "--ignore-not-found"]


def pods_command(submission: Submission, names: Iterable[str]) -> list[str]:
    """Return the kubectl command that gets the pods of resources of one kind and namespace."""
    label = POD_LABELS[submission.kind or "Job"]
    return [
        *kubectl(submission),
        "get",
        "pods",
        f"--selector={label} in ({','.join(names)})",
        "--output=json",
    ]


def ending_pods(submission: Submission, label: str, values: Sequence[str]) -> dict[str, float]:
    """Return the pods with one of these values of a label that have not ended, and each one's grace period in seconds.

    submission: says in which cluster and namespace. Raises SchedulerUnavailable if kubectl does not answer.
    """
    asked = f"{label} in ({','.join(values)})" if len(values) <= BY_NAME else OURS
    words = [*kubectl(submission), "get", "pods", f"--selector={asked}", "--output=json"]
    try:
        found = _items(ask(words))
    except ValueError:
        raise SchedulerUnavailable("kubectl printed no pods") from None
    return {
        pod["metadata"]["name"]: float((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 30)
        for pod in found
        if (pod["metadata"].get("labels") or {}).get(label) in values
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    }


def states(submissions: Iterable[Submission], pods: bool = True) -> dict[Key, JobState]:
    """Return the states of submissions by key. pods: also ask for the pods of those that wait or run."""
    groups: dict[tuple[str | None, str | None], list[Submission]] = {}
    for one in submissions:
        groups.setdefault((one.context, one.namespace), []).append(one)
    return {key: state for group in groups.values() for key, state in _of_namespace(group, pods).items()}


def _of_namespace(submissions: list[Submission], pods: bool) -> dict[Key, JobState]:
    unique = list({key(one): one for one in submissions}.values())
    try:
        resources = {(one["kind"], one["metadata"]["name"]): one for one in _items(ask(get_command(unique)))}
    except (SchedulerUnavailable, ValueError, KeyError) as error:
        why = str(error) if isinstance(error, SchedulerUnavailable) else "kubectl printed no resources"
        return {key(one): JobState("unknown", why) for one in unique}
    found = {}
    for one in unique:
        resource = resources.get((one.kind, one.name))
        state = read_resource(resource) if resource else JobState("ended", f"no such {one.kind} any more")
        if pods and resource and state.alive:
            state = _with_pods(state, one)
        found[key(one)] = state
    return found


def _with_pods(state: JobState, submission: Submission) -> JobState:
    try:
        pods = _items(ask(pods_command(submission, [submission.name or ""])))
    except (SchedulerUnavailable, ValueError):
        return state
    return read_pods(state, pods)


def read_resource(resource: Mapping[str, Any]) -> JobState:
    """Return the state that the status of a Job, JobSet or TrainJob describes."""
    status = resource.get("status") or {}
    holds = {one["type"]: one for one in status.get("conditions") or [] if one.get("status") == "True"}
    start = _time(status.get("startTime") or resource["metadata"].get("creationTimestamp"))
    restarts = int(status.get("restarts") or 0)
    if resource["metadata"].get("deletionTimestamp"):
        return JobState("cancelled", "being deleted", start, restarts=restarts)
    done = holds.get("Complete") or holds.get("Completed")
    failed = holds.get("Failed") or holds.get("FailureTarget")
    if done:
        end = _time(status.get("completionTime") or done.get("lastTransitionTime"))
        return JobState("finished", "", start, end, restarts=restarts)
    if failed:
        end = _time(failed.get("lastTransitionTime"))
        words = failed.get("message") or failed.get("reason") or ""
        return JobState("failed", " ".join(words.split())[:200], start, end, restarts=restarts)
    if holds.get("Suspended"):
        queued = "kueue.x-k8s.io/queue-name" in (resource["metadata"].get("labels") or {})
        return JobState("pending", "waits for its queue" if queued else "suspended", restarts=restarts)
    ready, wanted = _ready(resource, status)
    if ready >= wanted:
        return JobState("running", "", start, restarts=restarts)
    what = "pods" if resource["kind"] == "Job" else "jobs"
    waits = f"{ready} of {wanted} {what} ready"
    return JobState("requeued" if restarts else "pending", waits, restarts=restarts)


def read_pods(state: JobState, pods: Iterable[Mapping[str, Any]]) -> JobState:
    """Return the state with the nodes of its pods, or with the first reason for which a pod waits."""
    nodes, waits = [], ""
    for pod in pods:
        nodes += [node] if (node := pod.get("spec", {}).get("nodeName")) else []
        waits = waits or _waits_for(pod.get("status") or {})
    detail = waits if waits and state.word != "running" else state.detail
    return JobState(
        state.word, detail, state.start, state.end, ",".join(dict.fromkeys(nodes)), state.restarts
    )


def _waits_for(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            words = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return " ".join(words.split())[:200]
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    return ""


def _ready(resource: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[int, int]:
    """Return (ready, wanted): pods of a Job, child jobs of the other kinds."""
    if resource["kind"] == "Job":
        done = int(status.get("succeeded") or 0)
        return int(status.get("ready") or 0) + done, int(resource["spec"].get("parallelism") or 1)
    rows = status.get("replicatedJobsStatus") or status.get("jobsStatus") or []
    ready = sum(int(row.get("ready") or 0) + int(row.get("succeeded") or 0) for row in rows)
    replicated = resource.get("spec", {}).get("replicatedJobs") or []
    return ready, sum(int(one.get("replicas") or 1) for one in replicated) or max(1, len(rows))


def _items(text: str) -> list[dict[str, Any]]:
    start = re.search(r"^\{", text, re.MULTILINE)  # skip what a wrapper or a plug-in prints before it
    if start is None and not text.strip():
        return []
    found, _ = json.JSONDecoder().raw_decode(text, start.start() if start else 0)
    return found.get("items", [found])


def _time(text: str | None) -> float | None:
    """Return the Unix seconds of an RFC 3339 time in UTC, as the API server writes it; None if it is none."""
    try:
        return float(calendar.timegm(time.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return None
