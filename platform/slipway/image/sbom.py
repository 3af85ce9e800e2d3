"""The list of what is in an image, by syft."""

from pathlib import Path

QUIET = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}  # it would ask a server whether it is the newest
FORMATS = {"cyclonedx": "cyclonedx-json", "spdx": "spdx-json"}


def files(archive: Path) -> dict[str, Path]:
    """Return where each format is written: beside the archive."""
    return {name: archive.with_suffix(f".{name}.json") for name in FORMATS}


def command(archive: Path, syft: str) -> list[str]:
    """Return what syft does with a docker-archive: seconds there, minutes on a SIF."""
    outputs = [
        word for name, path in files(archive).items() for word in ("--output", f"{FORMATS[name]}={path}")
    ]
    return [syft, "scan", f"docker-archive:{archive}", "--quiet", *outputs]
