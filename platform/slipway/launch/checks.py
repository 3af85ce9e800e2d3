"""What a rendered script could not hold: refused here, in one line, before anything is rendered."""

import re
from pathlib import Path

from slipway import secrets
from slipway.config.schema import RunConfig
from slipway.errors import UserError

# Slurm reads backslashes and quotes in #SBATCH lines its own way; containers take , and : in binds for separators.
_NOT_IN_PATHS = re.compile(r"""[\x00-\x1f\x7f\\"'%\ud800-\udfff]""")
_NOT_IN_BINDS = re.compile(r"[,:]")


def one_line(text: str) -> str:
    """For a comment: nothing that ends its line."""
    return re.sub(r"[\x00-\x1f\x7f\s\ud800-\udfff]+", " ", text).strip()


def check_paths(config: RunConfig, workdir: Path) -> None:
    """Paths that scripts name can be named there. Raises UserError."""
    if not workdir.is_absolute():
        raise UserError(f"launch.workdir: {workdir} is relative; allowed: a folder from / on")
    named = {"run.dir": config.run.dir, "data.dir": config.data.dir, "launch.workdir": workdir}
    for name, path in named.items():
        found = _NOT_IN_PATHS.search(str(path))
        if (
            found is None
            and path.is_absolute()
            and (name == "launch.workdir" or not path.is_relative_to(workdir))
        ):
            found = _NOT_IN_BINDS.search(str(path))
        if found is not None:
            raise UserError(
                f"{name}: {str(path)!r} has {found[0]!r} in it; allowed in a launched run: all but control characters, "
                "quotes, backslashes, % and, for a folder that is bound into the container, comma and colon"
            )


def check_no_secrets(config: RunConfig) -> None:
    """Scripts and manifests are files that others may read. Raises UserError."""
    secrets.check_plain(config.model_dump(mode="json"), {})
