"""What follows when a pod ends: exit code 75 and disruptions continue uncharged, 2 fails, everything else is counted.

75 means stopped with a checkpoint; 2 a user's mistake, which would be the same every time; anything else is a fault.
The rules hold for every container of the pod: the preflight check ends before the trainer starts.
"""

from typing import Any

from slipway.errors import EXIT_CONTINUE, EXIT_USER_ERROR
from slipway.launch.kubernetes.pod import PREFLIGHT_SECONDS

TTL_SECONDS = 7 * 24 * 3600  # finished workloads stay readable, but not for ever
START_SECONDS = 3600  # for pods to get their machines and to pull an image of 20 GB


def deadline_seconds(minutes: int, preflight: bool, grace_seconds: int) -> int:
    """Return the seconds that a Job is given whose trainers stop by themselves `minutes` after their own start.

    The trainer's clock must run out first. A Job's clock starts when its pods are created: machines, image and
    preflight come before the trainer, the last save after it.
    """
    check = 2 * PREFLIGHT_SECONDS if preflight else 0  # for all pods to come, and to measure
    return 60 * minutes + START_SECONDS + check + grace_seconds


def job_spec(
    nodes: int, deadline: int | None, template: dict[str, Any], restarts_itself: bool
) -> dict[str, Any]:
    """Return the spec of an Indexed Job of one pod per node.

    A Job replaces pods one by one, which makes a whole gang of them only if all of them end: after exit code 75 and
    disruptions (every rank saves and leaves). A fault ends a Job.

    deadline: seconds for all its pods together. restarts_itself: no JobSet above it restarts the gang. Such a Job has
    no deadline, because it would end the run, not a segment.
    """
    assert not (restarts_itself and deadline)
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",  # never two pods of one index
        "podFailurePolicy": {"rules": _pod_rules("Ignore" if restarts_itself else "FailJob")},
    }
    if deadline is not None:
        spec["activeDeadlineSeconds"] = deadline
    spec["template"] = template
    return spec


def once_only() -> dict[str, Any]:
    """Return the failure policy of a Job that is retried by itself, but not after a user's mistake.

    Disruptions are not counted.
    """
    return {"rules": [_ends_with(EXIT_USER_ERROR, "FailJob"), _disrupted("Ignore")]}


def _pod_rules(continues: str) -> list[dict[str, Any]]:
    return [
        _ends_with(EXIT_USER_ERROR, "FailJob"),
        _ends_with(EXIT_CONTINUE, continues),
        _disrupted(continues),
    ]


def _ends_with(code: int, action: str) -> dict[str, Any]:
    """Return a rule for an exit code. Without containerName it covers every container, init containers too."""
    return {"action": action, "onExitCodes": {"operator": "In", "values": [code]}}


def _disrupted(action: str) -> dict[str, Any]:
    return {"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def gang_policy(restarts: int) -> dict[str, Any]:
    """Return a JobSet's failure policy: restart all pods together.

    The message of a failed Job says which of the rules above it failed by.
    """
    by_rule = ["PodFailurePolicy"]
    return {
        "maxRestarts": restarts,
        "restartStrategy": "BlockingRecreate",  # no new pod meets an old one
        "rules": [
            {
                "name": "userError",
                "action": "FailJobSet",
                "onJobFailureReasons": by_rule,
                "onJobFailureMessagePatterns": [f"exit code {EXIT_USER_ERROR} "],
            },
            {
                "name": "continues",
                "action": "RestartJobSetAndIgnoreMaxRestarts",
                "onJobFailureReasons": by_rule,
                "onJobFailureMessagePatterns": [f"exit code {EXIT_CONTINUE} ", "DisruptionTarget"],
            },
            {
                "name": "wallTime",  # after the trainer's own limit: slow machines or image, not the run's fault
                "action": "RestartJobSetAndIgnoreMaxRestarts",
                "onJobFailureReasons": ["DeadlineExceeded"],
            },
            {"name": "fault", "action": "RestartJobSet"},
        ],
    }
