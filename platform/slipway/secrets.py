"""One check for secrets at every entrance through which words come in, and the same for what goes out.

A configuration is copied into plan.json, scripts, manifests, checkpoints and wandb, which others read. What looks
like a secret (secret_forms.py) is refused, in a line that names the place and not the value.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from slipway import secret_forms as forms
from slipway.errors import UserError

# Fields of the schema, in a plan below `config`, whose names look like a secret's, and which hold none.
_OURS = re.compile(
    r"(?:config\.)?(?:data\.sources\.[^.]+\.(?:text|messages)_key|evaluation\.text_key"
    r"|cluster\.kubernetes\.(?:wandb_secret|tolerations\.[^.]+\.key))"
)
_OVERRIDE = re.compile(r"(?s)[+~]{0,2}(?P<key>[A-Za-z_][^\s=:?&\"'{}\[\]]*)=(?P<value>.*)")
_NESTED = re.compile(r"[\"']?([\w.-]+)[\"']?\s*:\s*[\"']?([^\s,{}\[\]\"']+)")
_OPTION = re.compile(r"--([A-Za-z][\w-]*)")  # whose value is the next word
HIDDEN = "***"


def check_plain(plain: Any, environment: Mapping[str, str], where: str = "") -> None:
    """Raise UserError, which contains no value, if plain data has what looks like a secret in a key or a value.

    where: the dotted path of the data. environment: the caller's, whose secrets are looked for by their values.
    """
    held = held_in(environment)
    for path, key, text in _strings(plain, where, ""):
        reason = _named(path, key, text) or _reason(path, text, held)
        if reason:
            raise _refusal(path, reason, held)


def check_words(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Check a command line for secrets, before anything reads it that would repeat it in a message.

    Raises UserError.
    """
    held, option = held_in(environment), ""
    for word in words:
        override = _OVERRIDE.fullmatch(word)
        at = override["key"] if override else option or "command line"
        value = override["value"] if override else word
        reason = _reason(at, value, held)
        if override and not reason:
            at, reason = _named_inside(at, value)
        if reason or _reason("", at, held):
            raise _refusal(at, reason or "its name holds a secret", held)
        option = word.partition("=")[0] if word.startswith("--") and "=" not in word else ""


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text for people or files without what looks like a secret: other programs' words may repeat one."""
    for value in held_in(os.environ if environment is None else environment):
        text = text.replace(value, HIDDEN)
    found = sorted(forms.spans(text), reverse=True)
    before = len(text)
    for start, end, _ in found:
        if start < before:
            text = text[:start] + HIDDEN + text[min(end, before) :]
            before = start
    return text


def in_one_line(error: BaseException | str) -> str:
    """Return an error's message in one line, without secrets, and without anything that a terminal would obey."""
    words = redacted(" ".join(str(error).split()))
    return "".join(repr(char)[1:-1] if ord(char) < 32 or 127 <= ord(char) < 160 else char for char in words)


def held_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variable's name for each value that an environment holds under a secret's name.

    Values are also given as they are quoted in URLs; the longest come first.
    """
    from urllib.parse import quote

    found = {}
    for name, value in environment.items():
        if looks_secret(name) and not forms.is_ordinary(value) and not _is_path(value):
            encoded = quote(value.strip(), safe="")
            lower = re.sub("%..", lambda found: found[0].lower(), encoded)
            found |= dict.fromkeys((value.strip(), encoded, lower), name)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def looks_secret(name: str) -> bool:
    """Return whether a variable with this name holds a secret: *_KEY, *TOKEN*, *SECRET*, *PASSWORD*..."""
    return forms.is_secret_name(name)


def _reason(path: str, text: str, held: Mapping[str, str]) -> str | None:
    """Return why a text is taken for a secret; None if it is not."""
    variable = next((name for value, name in held.items() if value in text), None)
    if variable:
        return f"holds the value of the variable {variable}"
    return next((reason for _, _, reason in forms.spans(text, "wandb" in path.lower())), None)


def _named(path: str, key: str, text: str) -> str | None:
    """Return why the name that a value is given to makes it a secret; None if it does not."""
    if not looks_secret(key) or _OURS.fullmatch(path) or forms.is_setting(key, text):
        return None
    return f"has the name of a secret, {key}"


def _named_inside(path: str, value: str) -> tuple[str, str | None]:
    """Return the same, and the place, for the value of an override, which may be a section: {KEY: VALUE}."""
    pairs = [(path, path.rpartition(".")[2], value)]
    if "{" in value:
        pairs = [(f"{path}.{key}", key, text) for key, text in _NESTED.findall(value)]
    return next(((at, why) for at, key, text in pairs if (why := _named(at, key, text))), (path, None))


def _strings(plain: Any, path: str, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield (dotted path, last name in it, text) of every value that may hold a secret, and of every key."""
    if isinstance(plain, Mapping):
        for name, value in plain.items():
            yield path, "", str(name)
            of = (
                key if looks_secret(key) and not looks_secret(str(name)) else str(name)
            )  # token: {value: ...}
            yield from _strings(value, f"{path}.{name}" if path else str(name), of)
    elif isinstance(plain, str):
        yield path, key, plain
    elif isinstance(plain, int) and not isinstance(plain, bool) and looks_secret(key):
        yield path, key, str(plain)
    elif isinstance(plain, Iterable):
        option = None
        for number, value in enumerate(plain):
            yield from _strings(value, f"{path}.{number}", option[1] if option else key)
            option = _OPTION.fullmatch(value) if isinstance(value, str) else None


def _refusal(path: str, reason: str, held: Mapping[str, str]) -> UserError:
    name = next((name for name in held.values() if reason.endswith(f" {name}")), "NAME")
    where = redacted(path, {name: value for value, name in held.items()}) or "configuration"
    return UserError(
        where,
        f"{reason}, and this is copied to where others read it",
        do=f"remove the secret; Slurm: export {name} in the shell that calls `slipway launch --submit`; "
        "Kubernetes: keep it in a Secret (cluster.kubernetes.wandb_secret)",
    )


def _is_path(value: str) -> bool:
    return value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value))
