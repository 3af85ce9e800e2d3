"""The container engine, podman or docker: which is installed, and what differs between the two."""

import shutil
from collections.abc import Callable

from slipway.errors import UserError

ENGINES = ("podman", "docker")


def choose(asked: str | None, dry_run: bool, which: Callable[[str], str | None] = shutil.which) -> str:
    """Return the engine to use. A dry run uses the one asked for, or podman, even if it is not installed.

    Raises UserError if the engine, or any engine, is not installed.
    """
    if asked:
        if not dry_run and which(asked) is None:
            raise UserError(
                "image --engine", "is not installed on this machine", value=asked, do=_others(asked, which)
            )
        return asked
    for engine in ENGINES:
        if which(engine):
            return engine
    if dry_run:
        return ENGINES[0]
    raise UserError(
        "image", "neither podman nor docker is installed on this machine", do="install one of them"
    )


def _others(asked: str, which: Callable[[str], str | None]) -> str:
    here = [engine for engine in ENGINES if engine != asked and which(engine)]
    return f"use {here[0]}" if here else "install podman or Docker"


def full_name(engine: str, tag: str) -> str:
    """Return the name under which the engine keeps a locally built image."""
    local = "/" not in tag and engine == "podman"
    return f"localhost/{tag}" if local else tag
