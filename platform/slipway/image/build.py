"""The commands that build an image and save it; pure, so that they can be printed and compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Files in layers have this time (1980, the earliest that a zip can hold), so that two builds of a commit are alike.
TIMESTAMP = 315532800


@dataclass(frozen=True)
class Build:
    """Everything that decides a build."""

    engine: str
    root: Path
    variant: str
    tag: str
    base: str | None = None
    wheels: Path | None = None
    apex_source: Path | None = None
    torch_index: str | None = None
    platform: str | None = None
    offline: bool = False
    cache: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    """Values of the Dockerfile's arguments that only label the image."""


def command(build: Build) -> list[str]:
    """Return the command that builds the image: `podman build ...` or `docker buildx build ...`."""
    podman = build.engine == "podman"
    words = ["podman", "build"] if podman else ["docker", "buildx", "build", "--load"]
    if podman:  # without the format, SHELL is silently ignored
        words += ["--format", "docker", "--timestamp", str(TIMESTAMP)]
    words += ["--network", "none" if build.offline else "host"]
    if not build.cache:
        words.append("--no-cache")
    if build.platform:
        words += ["--platform", build.platform]
    for name, value in _arguments(build).items():
        words += ["--build-arg", f"{name}={value}"]
    contexts = {"wheels": build.wheels, "apex-source": build.apex_source}
    for name, folder in contexts.items():
        if folder:
            words += ["--build-context", f"{name}={folder}"]
    return [*words, "--tag", build.tag, "--file", str(build.root / "Dockerfile"), str(build.root)]


def _arguments(build: Build) -> dict[str, str]:
    arguments = {"VARIANT": build.variant}
    if build.base:
        arguments["BASE_IMAGE"] = build.base
    if build.torch_index:
        arguments["TORCH_INDEX_URL"] = build.torch_index
    if build.offline:
        arguments["PIP_NO_INDEX"] = "1"
    if build.engine == "docker":
        arguments["SOURCE_DATE_EPOCH"] = str(TIMESTAMP)
    return {**arguments, **build.labels}


def save(engine: str, tag: str, archive: Path) -> list[str]:
    """Return the command that saves the image as a docker-archive: uncompressed layers, as Apptainer and syft read."""
    if engine == "podman":
        return ["podman", "save", "--format", "docker-archive", "--output", str(archive), tag]
    return ["docker", "save", "--output", str(archive), tag]
