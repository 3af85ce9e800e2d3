"""No secret goes into what is rendered: scripts, manifests, run.json and launch.json are files that others read."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.config.schema import RunConfig

_NAME = re.compile(
    r"(?i)(^|[_.\-/])(api_?key|\w*key|key_?id|\w*token|\w*secret|\w*password|\w*passwd|pass|\w*passphrase|jwt|pat|auth)$"
)
_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")
SHORTEST = 8
"""Characters of a value that is looked for everywhere; shorter ones would be found in innocent words."""


def check(config: "RunConfig", environment: Mapping[str, str]) -> None:
    """Raise UserError, with no value in it, where a configuration holds what looks like a secret.

    That is: a variable or annotation with the name of one; a password in a URL; or, anywhere, the value that a
    variable with the name of one has in `environment` (the caller's).
    """
    held = {
        name: value for name, value in environment.items() if looks_secret(name) and len(value) >= SHORTEST
    }
    for path, free_key, text in strings(config.model_dump(mode="json"), config):
        if free_key and text and looks_secret(free_key):
            raise UserError(f"{path}: {_advice(free_key)}")
        if _IN_URL.search(text):
            raise UserError(f"{path}: a URL with a password in it; {_advice()}")
        found = next((name for name, value in held.items() if value in text), None)
        if found:
            raise UserError(f"{path}: holds the value of the variable {found}; {_advice(found)}")


def looks_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret: *_KEY, *_TOKEN, *_SECRET, *PASSWORD..."""
    return _NAME.search(name) is not None


def strings(plain: Any, model: object, path: str = "", key: str = "") -> Iterator[tuple[str, str, str]]:
    """(dotted path, its key where the user chose the key, text) of every string, keys included.

    plain: the JSON of model, whose own fields' names are not the user's.
    """
    if isinstance(plain, dict):
        fields = getattr(type(model), "model_fields", None)
        for name, value in plain.items():
            inner = f"{path}.{name}" if path else name
            own = None if fields is None else getattr(model, name)
            if fields is None:
                own = model.get(name) if isinstance(model, Mapping) else None
                yield inner, "", name
            yield from strings(value, own, inner, "" if fields is not None else name)
    elif isinstance(plain, list):
        of = model if isinstance(model, list | tuple) else [None] * len(plain)
        for number, value in enumerate(plain):
            yield from strings(value, of[number], f"{path}.{number}")
    elif isinstance(plain, str):
        yield path, key, plain


def _advice(name: str = "") -> str:
    what = f"export {name}" if name else "export it"
    return (
        "looks like a secret, and would be written where others can read it; leave it out; Slurm: "
        f"{what} in the shell that calls `slipway launch --submit`; Kubernetes: keep it in a Secret "
        "(cluster.kubernetes.wandb_secret)"
    )
