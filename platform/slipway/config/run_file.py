"""run.json: a configuration as jobs carry it. Composed and validated once; ranks compose nothing.

The jobs of a sweep share one run.json; each gives what differs as changes, KEY=JSON with dotted keys.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import secrets
from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.config.schema import RunConfig


def to_text(config: "RunConfig") -> str:
    """run.json of a configuration: ASCII, one value per line, ends in a line feed."""
    return json.dumps(config.model_dump(mode="json"), indent=1) + "\n"


def changes(base: "RunConfig", config: "RunConfig") -> list[str]:
    """What makes `base` into `config`, in KEY=JSON words."""
    return _differences(base.model_dump(mode="json"), config.model_dump(mode="json"), "")


def read(path: Path, changed: Sequence[str] = ()) -> "RunConfig":
    """The configuration in a run.json, changed by KEY=JSON words. Raises UserError where it is none."""
    from pydantic import ValidationError

    from slipway.config.explain import explain
    from slipway.config.schema import RunConfig

    try:
        plain = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read the run: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise UserError(f"{path}: is not a run.json: it holds no sections")
    for word in changed:
        _change(plain, word)
    secrets.check_plain(plain, os.environ)
    try:
        return RunConfig.model_validate(plain)
    except ValidationError as error:
        raise explain(error, plain) from error


def _differences(base: Any, other: Any, at: str) -> list[str]:
    if base == other and type(base) is type(other):
        return []
    dotted = isinstance(other, dict) and any("." in key for key in other)
    if isinstance(base, dict) and isinstance(other, dict) and base.keys() == other.keys() and not dotted:
        inner = f"{at}." if at else ""
        return [word for key in other for word in _differences(base[key], other[key], f"{inner}{key}")]
    return [f"{at}={json.dumps(other)}"]


def _change(plain: dict[str, Any], word: str) -> None:
    dotted, equals, text = word.partition("=")
    try:
        value = json.loads(text)
    except ValueError:
        equals = ""
    if not equals:
        raise UserError(f"{word}: is not KEY=JSON, as in optimizer.lr=0.001 or 'run.name=\"b\"'")
    *path, last = dotted.split(".")
    section: Any = plain
    for key in path:
        section = section.get(key) if isinstance(section, dict) else None
    if not isinstance(section, dict) or last not in section:
        raise UserError(f"{dotted}: no such key in the run")
    section[last] = value
