"""What a cancelled run still has on Kubernetes: pods that still save, and the objects that its sweep shares."""

import json
import sys
import time
from collections.abc import Iterable, Sequence

from slipway.errors import Fault
from slipway.launch.kubernetes.names import LABEL_SWEEP
from slipway.launch.record import Submission
from slipway.launch.schedulers import kubernetes
from slipway.launch.schedulers.asking import SchedulerUnavailable, ask
from slipway.launch.schedulers.states import Job

POLL_SECONDS = 1.0
SAY_SECONDS = 10.0
SLACK_SECONDS = 60.0  # beyond the pods' own grace period: for the cluster to clean up


def submissions(jobs: Iterable[Job]) -> list[Submission]:
    """Return the submissions to Kubernetes among jobs, oldest first."""
    return [job.submission for job in jobs if job.submission.scheduler == "kubernetes"]


def left_of(every: Sequence[Submission]) -> dict[str, float]:
    """Return pods that have not ended, and resources that wait for theirs, with the grace period of each in seconds.

    Raises SchedulerUnavailable if a cluster does not answer.
    """
    found: dict[str, float] = {}
    unique = {kubernetes.key(one): one for one in every}
    for key, state in kubernetes.states(unique.values(), pods=False).items():
        one = unique[key]
        if state.word == "unknown":
            raise SchedulerUnavailable(state.detail)
        if state.word == "cancelled":
            found[f"{one.kind}/{one.name}"] = 0.0
        found |= kubernetes.ending_pods(one, kubernetes.POD_LABELS[one.kind or "Job"], [one.name or ""])
    return found


def wait(name: str, every: Sequence[Submission]) -> None:
    """Return when no pod is left.

    Raises Fault if one stays longer than its grace period, or if the cluster does not answer.
    """
    began, said, limit, known = time.monotonic(), 0.0, 0.0, -1
    while True:
        try:
            left = left_of(every)
        except SchedulerUnavailable as silent:
            raise Fault(
                f"runs cancel {name}",
                f"was asked to end; whether its pods are gone is unknown: {silent}",
                do=f"look again with `slipway runs show {name}`",
            ) from None
        if not left:
            return
        now = time.monotonic()
        limit = max(limit, max(left.values()) + SLACK_SECONDS)
        if now - began > limit:
            names = ", ".join(list(left)[:5])
            raise Fault(
                f"runs cancel {name}",
                f"was asked to end, but has not ended after {limit:.0f} s: {names}",
                do="a node that does not respond keeps its pods: see why with `kubectl describe pod`, give up on them "
                "with `kubectl delete pod --force`",
            )
        if len(left) != known or now - said > SAY_SECONDS:
            known, said = len(left), now
            names = ", ".join(list(left)[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            seconds = f"{now - began:.0f} s of {limit:.0f} s at most"
            print(f"{name}: {names} ending, {seconds}; Ctrl-C stops the waiting", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)


def shared_commands(every: Sequence[Submission]) -> list[list[str]]:
    """Return the commands that remove the objects that a sweep shares, if no other run of it is left.

    Raises SchedulerUnavailable if the cluster does not answer.
    """
    words = []
    for one in {(one.sweep, *one.shared): one for one in every if one.sweep and one.shared}.values():
        resource = kubernetes.RESOURCES[one.kind or "Job"]
        selector = f"--selector={LABEL_SWEEP}={one.sweep}"
        text = ask([*kubernetes.kubectl(one), "get", resource, selector, "--output=json"])
        found = [item["metadata"] for item in json.loads(text or "{}").get("items", [])]
        if all(item["name"] == one.name or item.get("deletionTimestamp") for item in found):
            words.append(
                [*kubernetes.kubectl(one), "delete", *one.shared, "--ignore-not-found", "--wait=false"]
            )
    return words
