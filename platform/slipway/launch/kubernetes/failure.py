"""What becomes of a pod that ends: exit code 75 and disruptions continue uncharged, 2 fails, all else is counted.

75: stopped with a checkpoint. 2: a user's mistake, the same every time. Anything else: a fault. It is all the same
which container of the pod ends so: the doctor decides before the trainer is there.
"""

from typing import Any

from slipway.errors import EXIT_CONTINUE, EXIT_USER_ERROR
from slipway.launch.kubernetes.pod import PREFLIGHT_SECONDS

TTL_SECONDS = 7 * 24 * 3600  # what is over is kept for looking at, not for ever
START_SECONDS = 3600  # for pods to get their machines and to pull an image of 20 GB


def deadline_seconds(minutes: int, preflight: bool, grace_seconds: int) -> int:
    """Of a Job whose trainers stop by themselves `minutes` after their own start, so that theirs is the first clock.

    A Job's clock starts with its pods' creation: machines, image and preflight come before the trainer, the last save
    after it.
    """
    check = 2 * PREFLIGHT_SECONDS if preflight else 0  # for all pods to come, and to measure
    return 60 * minutes + START_SECONDS + check + grace_seconds


def job_spec(
    nodes: int, deadline: int | None, template: dict[str, Any], restarts_itself: bool
) -> dict[str, Any]:
    """Return an Indexed Job of one pod per node. restarts_itself: no JobSet is above it to restart the gang.

    A Job replaces pods one by one, which makes a whole gang of them only where all end: after 75 and disruptions
    (every rank saves and leaves). A fault ends a Job. deadline: seconds of all its pods together; one that restarts
    itself has none, because it would end the run, not a segment.
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
    """Of a Job that is tried again by itself: not after a user's mistake; disruptions are not counted."""
    return {"rules": [_ends_with(EXIT_USER_ERROR, "FailJob"), _disrupted("Ignore")]}


def _pod_rules(continues: str) -> list[dict[str, Any]]:
    return [
        _ends_with(EXIT_USER_ERROR, "FailJob"),
        _ends_with(EXIT_CONTINUE, continues),
        _disrupted(continues),
    ]


def _ends_with(code: int, action: str) -> dict[str, Any]:
    """Return without containerName a rule counts every container's exit code, init containers' too."""
    return {"action": action, "onExitCodes": {"operator": "In", "values": [code]}}


def _disrupted(action: str) -> dict[str, Any]:
    return {"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def gang_policy(restarts: int) -> dict[str, Any]:
    """Return a JobSet's: restart all pods together. A Job's message says which of the rules above it failed by."""
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
                "name": "wallTime",  # behind the trainer's own: slow machines or an image, not the run's fault
                "action": "RestartJobSetAndIgnoreMaxRestarts",
                "onJobFailureReasons": ["DeadlineExceeded"],
            },
            {"name": "fault", "action": "RestartJobSet"},
        ],
    }
