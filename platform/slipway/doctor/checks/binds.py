"""The check of what the profile binds into the container."""

import os
from string import Template

from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import Here


def binds(here: Here) -> Finding:
    """Return whether container.binds can be mounted: outside a container the sources exist, inside it the targets."""
    given = here.config.cluster.container.binds
    if not given:
        return skipped("binds", "the profile binds nothing")
    side = 1 if here.in_container else 0
    paths = [_sides(bind, here)[side] for bind in given]
    missing = [path for path in paths if not os.path.exists(here.path(path))]
    return judged(
        not missing,
        "binds",
        f"not there: {', '.join(missing)}" if missing else f"{len(paths)} there",
        f"{', '.join(paths)} {'in the container' if side else 'on the host'}",
        f"mend cluster.container.binds of {here.config.cluster.name}, or ask the site to mount it on this node; "
        "Apptainer ends at once where a source is missing",
    )


def _sides(bind: str, here: Here) -> tuple[str, str]:
    """Return (source, target) of SOURCE[:TARGET[:OPTIONS]], with variables filled in."""
    source, _, rest = Template(bind).safe_substitute(here.environment).partition(":")
    return source, rest.partition(":")[0] or source
