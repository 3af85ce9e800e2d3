"""Errors about an override that Hydra reads in another way than it was meant: the reason, and the quotes that help."""

import re
import shlex

from slipway.errors import UserError


def check_key(word: str) -> None:
    """Raise UserError for an override without a key: Hydra's own message for it names no override."""
    if re.match(r"(\+\+?|~)?(@|=|$)", word):
        raise UserError(word or repr(word), "has no key", do="write key=value, +key=value or ~key")


def unparsed(word: str, message: str) -> UserError:
    """Return the error for an override that Hydra's grammar refuses. message: Hydra's own, of several lines."""
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"(\+\+?|~)?[^\s=]+", key):
        return UserError(word, "is not an override", do="write key=value, +key=value or ~key")
    better = next((one for one in _quoted(key, value) if _parses(one)), None)
    remedy = f"write it in quotes, {shlex.quote(better)}" if better else ""
    return UserError(word, f"Hydra cannot read the value: {_reason(message)}", do=remedy)


def ambiguous(word: str) -> UserError:
    """Return the error for a value with commas outside a sweep."""
    word = word.removeprefix("++")  # added by slipway.config.budget
    key, _, value = word.partition("=")
    return UserError(
        word,
        "commas separate the values of a sweep, which needs --multirun (-m)",
        do=f"write a list as {shlex.quote(f'{key}=[{value}]')}, and text that contains commas in quotes: "
        f"{shlex.quote(as_text(key, value))}",
    )


def as_text(key: str, value: object) -> str:
    """Return the override that gives a value, as YAML and Hydra understood it, as text."""
    words = {None: "null", True: "true", False: "false"}
    shown = words[value] if value is None or isinstance(value, bool) else str(value)
    return f"{key}={_in_quotes(shown)}"


def _quoted(key: str, value: str) -> list[str]:
    """Return ways to write a value with quotes: around the items of a list, or around the whole."""
    if value.startswith(("[", "{")):
        items = ",".join(map(_in_quotes, value[1:-1].split(",")))
        return [f"{key}=[{items}]"] if value.startswith("[") and value.endswith("]") else []
    return [f"{key}={_in_quotes(value)}"]


def _in_quotes(text: str) -> str:
    if re.fullmatch(r"""(["']).*\1""", text, re.DOTALL):
        return text
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{escaped}"'


def _parses(word: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_overrides([word])
    except HydraException:
        return False
    return True


def _reason(message: str) -> str:
    lines = [line for line in message.splitlines() if line.strip() and not line.startswith("See http")]
    if len(lines) == 2 and lines[1].strip() == "^":  # the lexer points at a character
        return f"it does not understand {lines[0][lines[1].index('^') :]!r}"
    kept = [line for line in lines if not line.startswith("Error parsing override")]
    return "; ".join(line.strip() for line in kept)
