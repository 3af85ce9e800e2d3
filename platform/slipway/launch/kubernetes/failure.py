"""What becomes of a pod that ends: exit code 75 and disruptions continue uncharged, 2 fails, all else is counted.

75: stopped with a checkpoint. 2: a user's mistake, the same every time. Anything else: a fault.
"""

from typing import Any

from slipway.errors import EXIT_CONTINUE, EXIT_USER_ERROR
from slipway.launch.kubernetes.pod import CONTAINER

TTL_SECONDS = 7 * 24 * 3600  # what is over is kept for looking at, not for ever


def job_spec(
    nodes: int, minutes: int | None, template: dict[str, Any], restarts_itself: bool
) -> dict[str, Any]:
    """An Indexed Job of one pod per node. restarts_itself: no JobSet is above it to restart the gang.

    A Job replaces pods one by one, which makes a whole gang of them only where all end: after 75 and disruptions
    (every rank saves and leaves). A fault ends a Job.
    """
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",  # never two pods of one index
        "podFailurePolicy": {"rules": _pod_rules("Ignore" if restarts_itself else "FailJob")},
    }
    if minutes is not None:
        spec["activeDeadlineSeconds"] = 60 * minutes
    spec["template"] = template
    return spec


def _pod_rules(continues: str) -> list[dict[str, Any]]:
    def ends_with(code: int, action: str) -> dict[str, Any]:
        codes = {"containerName": CONTAINER, "operator": "In", "values": [code]}
        return {"action": action, "onExitCodes": codes}

    disruption = {"type": "DisruptionTarget", "status": "True"}
    return [
        ends_with(EXIT_USER_ERROR, "FailJob"),
        ends_with(EXIT_CONTINUE, continues),
        {"action": continues, "onPodConditions": [disruption]},
    ]


def gang_policy(restarts: int) -> dict[str, Any]:
    """A JobSet's: restart all pods together. A Job's message says which of the rules above it failed by."""
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
            {"name": "fault", "action": "RestartJobSet"},
        ],
    }
