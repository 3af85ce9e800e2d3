"""The file image.json beside an archive: what was built, from what, and the digest that identifies it."""

import json
import re
from pathlib import Path
from typing import Any

from slipway.errors import UserError
from slipway.files import write_whole

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def path_of(archive: Path) -> Path:
    """Return the path of the record beside an archive or a SIF."""
    return archive.with_suffix(".json")


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a record whole or not at all."""
    write_whole(path, json.dumps(content, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return a record. Raises UserError if the file is not a record of an image."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_digest(content["digest"], str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "image",
            f"is not a record of an image ({error})",
            value=path,
            do="build the image again, or name another record",
        ) from None
    return content


def check_digest(text: str, where: str) -> str:
    """Return the text if it is a whole digest. Raises UserError if it is not."""
    if not DIGEST.fullmatch(text):
        raise UserError(
            f"image {where}", "is not a digest", value=text, use="sha256: and 64 hexadecimal digits"
        )
    return text
