"""Checks before rendering: what a rendered script could not hold is refused in one line."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from slipway import secrets
from slipway.config.schema import RunConfig
from slipway.config.section import Section
from slipway.data import kind_of
from slipway.errors import UserError
from slipway.launch import leftovers

# Slurm reads backslashes and quotes in #SBATCH lines its own way; containers take , and : in binds for separators.
_NOT_IN_PATHS = re.compile(r"""[\x00-\x1f\x7f\\"'%\ud800-\udfff]""")
# What Apptainer would fetch; the other ways it knows (docker-archive:, oci:, a file) stay on the machine.
_REMOTE = re.compile(r"(?:docker|oras|library|shub|https?|net)://")
_NOT_IN_BINDS = re.compile(r"[,:]")


def one_line(text: str) -> str:
    """Return the text on one line, for a comment: control characters and runs of white space become one space."""
    return re.sub(r"[\x00-\x1f\x7f\s\ud800-\udfff]+", " ", text).strip()


def check_paths(config: RunConfig, workdir: Path) -> None:
    """Check that scripts can name the paths of a run.

    Raises UserError if launch.workdir is relative, or if a path contains a character that Slurm, or the binds of a
    container, would misread.
    """
    if not workdir.is_absolute():
        raise UserError("launch.workdir", "is relative", value=workdir, use="an absolute path")
    folders = kind_of(config).folders(config)
    named = {"run.dir": config.run.dir, **folders, "launch.workdir": workdir}
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
                name,
                f"contains {found[0]!r}, which no path of a launched run may",
                value=str(path),
                use="a path without control characters, quotes, backslashes, % and, for a directory that is bound into "
                "the container, comma and colon",
            )


def check_offline(config: RunConfig, image: str, scheduler: str) -> None:
    """Refuse what needs the internet on nodes that have none: a job would wait for it, or fail, after the queue.

    Images on Kubernetes are not checked: they come from a registry, which may be the cluster's own. Raises UserError
    if every task would pull the image, if a variable of the profile asks for the internet, or if a path of the data
    or of the run is an address.
    """
    cluster = config.cluster
    if cluster.internet is not False:
        return
    where = f"the nodes of {cluster.name} have no internet (cluster.internet)"
    if scheduler != "kubernetes" and _REMOTE.match(image):
        field = "launch.image" if config.launch.image else "cluster.container.image"
        raise UserError(
            field,
            f"would be pulled by every task, but {where}",
            value=image,
            do="convert it to a file here with `slipway image sif docker://NAME@sha256:... --out slipway.sif`, and "
            "set launch.image=slipway.sif",
        )
    own = cluster.environment
    if own.get("WANDB_MODE") == "online" and "WANDB_BASE_URL" not in own:
        raise UserError(
            "cluster.environment.WANDB_MODE",
            f"cannot work: {where}",
            value="online",
            do="omit it and upload later with `slipway runs sync`, or set WANDB_BASE_URL to a server that the nodes "
            "can reach",
        )
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        if own.get(name, "1").lower() in ("0", "false", "no", "off"):
            raise UserError(
                f"cluster.environment.{name}", f"cannot work: {where}", value=own[name], do="omit it"
            )
    for field, text in (*_paths(config.data, "data"), ("run.dir", config.run.dir)):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(text)):
            raise UserError(
                field, f"is an address, but {where}", value=text, use="a directory or file of this machine"
            )


def _paths(section: Section, at: str) -> Iterator[tuple[str, Path]]:
    """Yield the dotted path of each field of a section that holds a path, and the path itself."""
    for name, value in section:
        if isinstance(value, Path):
            yield f"{at}.{name}", value
        elif isinstance(value, Section):
            yield from _paths(value, f"{at}.{name}")


def check_environment(config: RunConfig, taken: Collection[str]) -> None:
    """Refuse variables of a profile that the script or the launcher sets: the profile's would win, unseen.

    Raises UserError.
    """
    for name in config.cluster.environment:
        if name in taken or name in leftovers.NAMES:
            raise UserError(
                f"cluster.environment.{name}", f"the launch sets {name} for the ranks", do="omit it"
            )
        if name == "SRUN_CPUS_PER_TASK":
            raise UserError(
                f"cluster.environment.{name}", "cluster.node.cores_per_device already sets it", do="omit it"
            )


def check_no_secrets(config: RunConfig) -> None:
    """Check that the configuration contains no secrets: others may read scripts and manifests. Raises UserError."""
    secrets.check_plain(config.model_dump(mode="json"), {})
