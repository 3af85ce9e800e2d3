"""The forms of secrets: by name, by shape, in a URL. Pure; names and texts in, places out."""

import functools
import re
from collections.abc import Iterator
from urllib.parse import unquote

Span = tuple[int, int, str]
"""The place of a secret in a text: (start, end, what it is)."""

SHORTEST = 8
"""The least length of a value that is looked for everywhere; shorter ones would be found in innocent words."""

_NAME = re.compile(r"[\w./-]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_PART = re.compile(r".*(?:token|secrets?|passw(?:or)?ds?|passphrase|credentials?|jwt|.key)")
_NOT_KEYS = {
    "monkey",
    "turkey",
    "hockey",
    "whiskey",
    "donkey",
    "jockey",
    "hotkey",
    "pkey",
    "wckey",
}  # of words, of InfiniBand, of Slurm
_WEAK_PARTS = {"key", "keys", "auth", "sas", "bearer", "signature", "sig"}  # not of secrets alone
_PARTS_OF_SECRETS = _WEAK_PARTS | {"pass", "pwd", "pat", "apikeys", "cred", "creds"}
_PARTS_OF_KEYS = {"api", "access", "private", "secret"}
_ABOUT = re.compile(  # a name with such an end tells the place of a secret, or something about it
    "files?|paths?|dir|directory|folder|home|sock|socket|host|port|type|ttl|timeout|seconds|expiry|length|len|size|count|limit|"
    "budget|parallelism|enabled|disabled|mode|column|field|format|provider|version|class|algorithm"
)
_WORD = r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)"
_WORDS = re.compile(rf"{_WORD}(?:[-_./ :,]+{_WORD})*")
_NUMBER = re.compile(r"[\d.,:+-]*")
_RANDOM = re.compile(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{16,}")

_SHAPES = {
    "a Hugging Face token": r"(?:hf|api_org)_(?:(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{16,}|[a-z]{26,})",
    "a GitHub token": r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}",
    "a GitLab token": r"gl(?:pat|dt|oas|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[\w-]{16,}",
    "an AWS key": r"(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}(?![A-Za-z0-9])",
    "an API key": r"sk-(?:proj|ant|svcacct|admin|or)-(?=[A-Za-z_-]*\d)[\w-]{16,}"
    r"|[sr]k[-_](?:(?:live|test)_)?(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}"
    r"|nvapi-[\w-]{20,}|gsk_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|xai-[A-Za-z0-9]{30,}",
    "a Slack token": r"xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|xoxe\.xox[a-z]-[\w-]{10,}",
    "a webhook": r"hooks\.slack\.com/services/[\w/]{20,}|discord(?:app)?\.com/api/webhooks/\d+/[\w-]{30,}",
    "a registry's token": r"npm_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{30,}|dckr_pat_[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r"|do[opr]_v1_[a-f0-9]{32,}|hv[sbr]\.[\w-]{20,}",
    "a wandb key": r"wandb_v\d+_\w{16,}|local-[0-9a-f]{40}(?![0-9a-f])",
    "a web token (JWT)": r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
}
_SHAPE = re.compile(
    "|".join(f"(?<![A-Za-z0-9])(?P<n{number}>{shape})" for number, shape in enumerate(_SHAPES.values()))
)
_SHAPE_NAMES = tuple(_SHAPES)
_PEM = re.compile(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*KEY-----|\Z)")
_ABOUT_WANDB = re.compile(r"(?i)wandb[_ .-]*(?:login|api|key|token)")
_WANDB_KEY = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)[A-Za-z0-9]{40,}(?![A-Za-z0-9])")
_BEARER = re.compile(
    r"(?i)\b(?:bearer\s+((?=\S*\d)[\w.~+/=-]{12,})|basic\s+((?=[a-z0-9+/]*\d)[a-z0-9+/]{12,}=*)(?![\w-]))"
)

_NOT_DIGEST = r"@(?!sha(?:256|384|512):)"
_USER_PASSWORD = re.compile(rf"(?i)[a-z][a-z0-9+.-]*://([^/\s@:\[]*:(?!\d+(?:[/?#]|$))[^\s@]*){_NOT_DIGEST}")
_USER = re.compile(rf"(?i)([a-z][a-z0-9+.-]*)://([^/\s@:]+){_NOT_DIGEST}")
_BARE_USER_PASSWORD = re.compile(
    rf"(?<![\w/@.:-])[\w.%+-]+:([^\s:/@,'\"]+){_NOT_DIGEST}(?:[\w-]+(?:\.[\w-]+)+|localhost|[\w-]+:\d)"
)
_WEB = ("http", "https", "ftp", "ftps", "ws", "wss")
_ASSIGNED = re.compile(r"(?<![\w.%])-{0,2}([A-Za-z][\w.-]*)=(?=[\"']?([^\s&;,#'\"\])}]+))")
_HEADER = re.compile(
    r"(?<![\w.%/-])([A-Za-z][\w.-]*)(?:[\"']?:\s+|[\"']:)[\"']?((?=[^\s,;\"'}]*\d)\w[\w.~+/=-]{7,})(?![^\s,;\"'}])"
)
_OPTION = re.compile(r"(?<!\S)--([A-Za-z][\w-]*)\s+[\"']?((?=\S*\d)\w[^\s\"']{7,})")
_PERCENT = re.compile(r"(?<!\S)\S*?%[0-9A-Fa-f]{2}\S*")


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a variable, a key or a query's parameter with this name holds a secret."""
    parts = _parts(name)
    if (
        not parts
        or not _NAME.fullmatch(name)
        or _ABOUT.fullmatch(parts[-1])
        or "public" in parts
        or name in ("PWD", "OLDPWD")
    ):
        return False
    return any(_is_of_secret(part) for part in parts)


def _parts(name: str) -> list[str]:
    return [part.lower() for part in _PARTS.findall(name)]


def _is_of_secret(part: str) -> bool:
    return part in _PARTS_OF_SECRETS or (part not in _NOT_KEYS and _SECRET_PART.fullmatch(part) is not None)


def is_ordinary(value: str) -> bool:
    """Return whether a value may occur in innocent texts, too: short, one or several words, a number."""
    value = value.strip()
    if len(value) < SHORTEST:
        return True
    if _WORDS.fullmatch(value):
        return len(value) < 24
    return _NUMBER.fullmatch(value) is not None and len(value) < 16


def is_setting(name: str, value: str) -> bool:
    """Return whether a value under a secret's name is none: empty, a switch, a small number, a reference, a path."""
    text = value.strip(" \"'")
    if _says_nothing(text):
        return True
    if not _is_strong(name):
        return is_ordinary(text) or text.startswith(("/", "./", "../", "~"))
    return "credentials" in _parts(name) and text.startswith(("/", "~"))


def _is_strong(name: str) -> bool:
    """Return whether a name can only be a secret's: `key` and `auth` are parts of many other names."""
    parts = set(_parts(name))
    return not {part for part in parts if _is_of_secret(part)} <= _WEAK_PARTS or bool(parts & _PARTS_OF_KEYS)


def _says_nothing(text: str) -> bool:
    if text.lower() in ("", "null", "none", "true", "false", "yes", "no", "on", "off") or text[0] == "$":
        return True
    return text.removeprefix("-").replace(".", "", 1).isdigit() and len(text) < 6


@functools.lru_cache(maxsize=16384)
def spans(text: str, near_wandb: bool = False) -> tuple[Span, ...]:
    """Return the places of secrets in a text, and what they are.

    near_wandb: the text is about wandb, whose older keys have no shape of their own.
    """
    if len(text) < SHORTEST and "=" not in text and "@" not in text:
        return ()
    found: list[Span] = [
        (*match.span(), f"holds what looks like {_SHAPE_NAMES[int((match.lastgroup or 'n0')[1:])]}")
        for match in _SHAPE.finditer(text)
    ]
    if near_wandb or _ABOUT_WANDB.search(text):
        found += [(*match.span(), "holds what looks like a wandb key") for match in _WANDB_KEY.finditer(text)]
    if "PRIVATE KEY" in text:
        found += [(*match.span(), "holds a private key") for match in _PEM.finditer(text)]
    found += [
        (*match.span(match.lastindex or 0), "holds a token after `Bearer` or `Basic`")
        for match in _BEARER.finditer(text)
    ]
    if "@" in text:
        found += _in_front_of_host(text)
    if "=" in text:
        found += _assigned(text)
    found += _beside(text)
    if "%" in text and not found:
        found += _encoded(text, near_wandb)
    return tuple(found)


def _beside(text: str) -> Iterator[Span]:
    """Yield values of secrets in `NAME: VALUE` of a header, YAML or JSON, and in `--NAME VALUE`.

    Only names that can be nothing but a secret's count.
    """
    for match in (*_HEADER.finditer(text), *_OPTION.finditer(text)):
        name, value = match.groups()
        if (
            is_secret_name(name)
            and not is_setting(name, value)
            and not is_ordinary(value)
            and _is_strong(name)
        ):
            yield *match.span(2), f"a value in it has the name of a secret, {name}"


def _encoded(text: str, near_wandb: bool) -> Iterator[Span]:
    """Yield whole words that contain a secret once their %XX are decoded, as a URL's reader does."""
    for match in _PERCENT.finditer(text):
        decoded = unquote(match[0]).replace("%", " ")  # once is enough
        for _, _, reason in spans(decoded, near_wandb)[:1]:
            yield *match.span(), reason


def _in_front_of_host(text: str) -> Iterator[Span]:
    for match in _USER_PASSWORD.finditer(text):
        yield *match.span(1), "a URL with a password in it"
    for match in _USER.finditer(text):
        web = match[1].lower().rpartition("+")[2] in _WEB
        if (web and match[2] != "git") or _RANDOM.search(match[2]):
            yield *match.span(2), "a URL with a token or a user before the @"
    for match in _BARE_USER_PASSWORD.finditer(text):
        if not is_ordinary(match[1]):
            yield *match.span(1), "a password before the @ of a host"


def _assigned(text: str) -> Iterator[Span]:
    """Yield the values in NAME=VALUE anywhere: in the query of a URL, in an option for a program."""
    for match in _ASSIGNED.finditer(text):
        name, value = match.groups()
        if not is_secret_name(name) or _says_nothing(value):
            continue
        if text[: match.start()].endswith(("?", "&", "#", ";")):
            yield *match.span(2), f"a URL with a token in it, {name}"
        elif not is_setting(name, value) and not is_ordinary(value):
            yield *match.span(2), f"a value in it has the name of a secret, {name}"
