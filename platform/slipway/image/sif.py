"""A SIF from an image: the arguments for apptainer.def, and spython's Client, which drives Apptainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.errors import Fault, UserError
from slipway.files import whole
from slipway.image import shell

DIGEST_LABEL = "org.slipway.image.digest"
ZSTD = ("--mksquashfs-args", "-comp zstd -Xcompression-level 3")  # a third of gzip's time, and smaller


@dataclass(frozen=True)
class Origin:
    """The image that a SIF is made from."""

    bootstrap: str
    """Apptainer's agent: docker-archive, docker (a registry), docker-daemon."""
    location: str
    digest: str


def options(origin: Origin, gzip: bool) -> list[str]:
    """Return the options of `apptainer build`. --notest: `slipway image test` runs the test, and shows its output."""
    arguments = {"bootstrap": origin.bootstrap, "from": origin.location, "digest": origin.digest}
    words = ["--force", "--notest"]
    for name, value in arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    return [*words, *(() if gzip else ZSTD)]


def build(definition: Path, sif: Path, words: Sequence[str], dry_run: bool) -> None:
    """Build a SIF by `apptainer build`, through spython; it appears whole or not at all.

    Raises Fault if the build fails.
    """
    command = ["singularity", "build", *words]  # the name that spython calls it by
    if dry_run:
        shell.say([*command, str(sif), str(definition)])
        return
    with whole(sif) as beside:
        shell.say([*command, str(beside), str(definition)])
        made = client().build(
            recipe=str(definition),
            image=str(beside),
            options=list(words),
            sudo=False,
            quiet=False,
            force=False,
        )
        if not made or not beside.exists():
            raise Fault("`singularity build ...`", "created no image", do="see its output above")


def labels(sif: Path) -> dict[str, str]:
    """Return the labels of a SIF, read by spython. Raises UserError if it has none."""
    try:
        found = client().inspect(str(sif), quiet=True)
        return found["attributes"]["labels"]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            "image",
            "is not a SIF that Apptainer can read",
            value=sif,
            do="create one with `slipway image sif`",
        ) from None


def client() -> Any:
    """Return the Client of spython, without its own messages. Raises UserError if it or Apptainer is missing."""
    shell.need("apptainer", "sif")
    shell.need("singularity", "sif")
    try:
        from spython.logger import bot
        from spython.main import Client
    except ImportError:
        raise UserError(
            "image", "spython is not installed", do="install it with pip install 'slipway[image]'"
        ) from None
    bot.level = 0  # it would print the command a second time
    return Client
