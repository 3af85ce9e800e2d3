"""The record of a submission, made from the plan that was submitted."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from slipway.launch import record
from slipway.launch.placement import Placement
from slipway.launch.record import Submission
from slipway.plan import Plan
from slipway.plan.facts import facts_of


def submission_of(
    plan: Plan, placement: Placement, command: Sequence[str], **where: str | list[str] | None
) -> Submission:
    """Return the record of one run's submission by this command, which was called just now."""
    return Submission.model_validate(
        {
            "scheduler": placement.scheduler,
            "cluster": plan.config.cluster.name,
            "submitted": time.time(),
            "image": placement.image,
            "command": list(command),
            "chain": plan.config.launch.chain,
            "facts": facts_of(plan.model_dump(mode="json", exclude={"ranks", "memory"})),
            **where,
        }
    )


def remember(
    folder: Path, plan: Plan, placement: Placement, command: Sequence[str], **where: str | list[str] | None
) -> None:
    """Record a submission. The job is on its way, so a record that cannot be written is reported and is no failure."""
    try:
        record.add(folder, submission_of(plan, placement, command, **where))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        print(f"slipway: submitted, but not recorded in {folder}: {why}", file=sys.stderr)
