"""The list of an image's content, made by syft."""

from pathlib import Path

QUIET = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}  # else it asks a server whether it is the newest version
FORMATS = {"cyclonedx": "cyclonedx-json", "spdx": "spdx-json"}


def files(archive: Path) -> dict[str, Path]:
    """Return the path of each format, beside the archive."""
    return {name: archive.with_suffix(f".{name}.json") for name in FORMATS}


def command(archive: Path, syft: str) -> list[str]:
    """Return the command by which syft lists a docker-archive, which takes seconds; a SIF would take minutes."""
    outputs = [
        word for name, path in files(archive).items() for word in ("--output", f"{FORMATS[name]}={path}")
    ]
    return [syft, "scan", f"docker-archive:{archive}", "--quiet", *outputs]
