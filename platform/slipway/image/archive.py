"""The content of an image archive: tag, configuration, and the digest that identifies the image everywhere."""

import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.errors import UserError


@dataclass(frozen=True)
class Archive:
    """A docker-archive, as podman and docker save it."""

    path: Path
    digest: str
    """Digest of the image's configuration, `sha256:...`: its ID in podman and docker, and in a registry's manifest."""
    tags: tuple[str, ...]
    config: dict[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels."""
        return self.config.get("config", {}).get("Labels") or {}


def read(path: Path) -> Archive:
    """Return an archive's manifest and configuration. Raises UserError if the file is no image archive."""
    try:
        with tarfile.open(path, "r:") as tar:
            manifest = json.loads(_member(tar, "manifest.json"))[0]
            config = _member(tar, manifest["Config"])
    except (OSError, tarfile.TarError, KeyError, ValueError, IndexError) as error:
        raise UserError(
            "image",
            f"is not an image archive ({error})",
            value=path,
            do="create one with `slipway image build`",
        ) from None
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    return Archive(path, digest, tuple(manifest.get("RepoTags") or ()), json.loads(config))


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is no file")
    with file:
        return file.read()


def file_digest(path: Path) -> str:
    """Return the digest `sha256:...` of a whole file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
