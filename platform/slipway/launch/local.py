"""Rendering of plans as a shell script that trains here, for clusters without a scheduler. Pure."""

from collections.abc import Sequence
from pathlib import Path

from slipway.errors import UserError
from slipway.launch import checks, leftovers
from slipway.launch.placement import Placement
from slipway.launch.slurm import container, jobs_of
from slipway.launch.templates import TRAIN, template, variables
from slipway.plan import Plan, plan_file

TEMPLATE = "local/job.sh.j2"


def render(plans: Sequence[Plan], placement: Placement, workdir: Path, verb: Sequence[str] = TRAIN) -> str:
    """Return the script; it runs in the image only if launch.image names one.

    Raises UserError if a run needs several nodes.
    """
    first = plans[0].config
    configs = [plan.config for plan in plans]
    for config in configs:
        checks.check_paths(config, workdir)
        if config.resources.nodes > 1:
            raise UserError(
                "resources.nodes",
                f"needs a scheduler that starts ranks on other machines, and cluster {config.cluster.name} has none",
                value=config.resources.nodes,
                use="1",
            )
    checks.check_no_secrets(first)
    checks.check_environment(first, variables(TEMPLATE))
    inside = container(first, placement.image, workdir, configs) if first.launch.image else []
    return template(TEMPLATE).render(
        title=checks.one_line(f"Slipway: {first.run.name} on {first.cluster.name}, {len(plans)} runs"),
        workdir=str(workdir),
        environment=first.cluster.environment,
        container=inside,
        launchers=[f'"${{!{prefix}@}}"' for prefix in (*leftovers.LAUNCHERS, "SLURM_STEP_")],
        names=list(leftovers.NAMES),
        plan_json=plan_file.to_text(plans[0]).rstrip("\n"),
        jobs=jobs_of(plans),
        preflight=first.launch.preflight,
        verb=verb,
    )
