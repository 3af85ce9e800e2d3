"""The errors of Hydra, OmegaConf and pydantic in one line: path, value, what is accepted, the nearest name."""

import difflib
import re
import shlex
import types
import typing
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from slipway.config.quotes import ambiguous, as_text, unparsed
from slipway.errors import UserError
from slipway.registry import BY_SECTION, Registry
from slipway.system_errors import in_hand

Path = tuple[str | int, ...]

# Types of pydantic's errors whose own message does not say what is accepted.
_PYDANTIC_TEXT = {
    "missing": "is missing",
    "model_type": "must be a section (key: value)",
    "dict_type": "must be a section (key: value)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "path_type": "must be a path",
}


def CompositionErrors() -> tuple[type[Exception], ...]:  # noqa: N802  (reads as a class in `except`)
    """Return the exceptions by which Hydra and OmegaConf report a user's mistake while composing."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    # OmegaConf: OSError for a YAML file that holds no section; its files may name each other, or themselves.
    return (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError, RecursionError)


MUST_BE_CHOSEN = "must be chosen"
"""The problem of a group for which nothing was chosen."""
TO_PLAN = "any_"
"""The prefix of choices that only stand for one if nothing is trained (slipway.config.stand_in)."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return what to do about an unknown name: `did you mean X? (valid: X, Y)`; empty if no name is valid."""
    names = sorted(names)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}? (valid: {', '.join(names)})"
    return f"use one of {', '.join(names)}" if names else ""


def valid_names(path: Path, plain: Mapping[str, typing.Any] = MappingProxyType({})) -> list[str]:
    """Return the names of the fields of the section at `path` in RunConfig; empty if any name is valid.

    plain: the configuration, or the known part of it; its tags decide which fields a tagged section has.
    """
    from pydantic import BaseModel

    from slipway.config.schema import RunConfig

    found: list[typing.Any] = [RunConfig]
    for number, key in enumerate(path):
        registry = BY_SECTION.get(str(key)) if number == 0 else None
        if registry is not None:
            found = _tagged(registry, plain.get(registry.section))
        else:
            found = [inside for one in found for inside in _inside(one, key)]
    sections = [kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return sorted({name for section in sections for name in section.model_fields})


def _tagged(registry: Registry, section: typing.Any) -> list[typing.Any]:
    """Return the class that the section's tag names; all classes if it names none."""
    tag = section.get(registry.tag) if isinstance(section, Mapping) else None
    names = registry.names()
    return [registry.section_class(name) for name in ([tag] if tag in names else names)]


def _alternatives(kind: typing.Any) -> list[typing.Any]:
    if typing.get_origin(kind) is typing.Annotated:
        return _alternatives(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [inner for part in typing.get_args(kind) for inner in _alternatives(part)]
    return [kind]


def _inside(kind: typing.Any, key: str | int) -> list[typing.Any]:
    from pydantic import BaseModel

    for section in _alternatives(kind):
        if typing.get_origin(section) in (dict, Mapping):
            return _alternatives(typing.get_args(section)[1])
        if isinstance(section, type) and issubclass(section, BaseModel) and key in section.model_fields:
            return _alternatives(section.model_fields[str(key)].annotation)
    return []


def explain(error: Exception, plain: Mapping[str, typing.Any] = MappingProxyType({})) -> UserError:
    """Return a UserError, in one line, for anything that composing or validating raised.

    plain: the configuration that was validated; its tags decide which fields a tagged section has. An error of the
    operating system is raised again.
    """
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
    from pydantic import ValidationError

    if isinstance(error, RecursionError):
        return UserError(
            "configuration",
            "a file is nested too deeply, or names itself in its defaults or aliases",
            do="look for a file whose defaults or aliases lead back to itself",
        )
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        if error.errno is not None:  # an error of the system, reported as everywhere
            raise error
        return UserError(_file(error), f"is not valid: {error}", do="correct the file")
    if isinstance(error, UnicodeDecodeError):
        return UserError(_file(error), f"is not text in UTF-8: {error}", do="save it as UTF-8")
    if str(error).startswith("Config group override"):
        return UserError(
            _override(error),
            "does not name a choice of a group",
            do=f"write {_override(error).split('=')[0]}=CHOICE",
        )
    if open_group := re.match(r"You must specify '(\S+)'", str(error)):
        choices = [line.strip() for line in str(error).splitlines()[2:]]
        choices = [choice for choice in choices if not choice.startswith(TO_PLAN)]
        words = " or ".join(f"{open_group[1]}={choice}" for choice in choices)
        return UserError(open_group[1], MUST_BE_CHOSEN, use=words)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(error, ValidationError):
        return _validation(error, plain)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(error.missing_cfg_file, error.options or [], str(error))
    if isinstance(error, OverrideParseException):
        return unparsed(str(error.override), str(error.message))
    if commas := re.match(r"Ambiguous value for argument '(.*)'$", str(error).partition("\n")[0]):
        return ambiguous(commas[1])
    again = re.match(r"Multiple values for (\S+)\.", str(error))
    if again:
        return UserError(
            again[1],
            "is given twice, or with + although it already has a value",
            do=f"write {again[1]}=CHOICE once",
        )
    if not isinstance(cause, OmegaConfBaseException):
        return UserError(_file(error), _one_line(str(error)))
    if isinstance(cause, MissingMandatoryValue):
        path = cause.full_key or ""
        return UserError(path, "is missing and has no default", do=f"set {path}=...")
    if "not in struct" in str(cause):
        return _unknown(tuple((cause.full_key or str(cause.key)).split(".")), "", _around(cause))
    if lacking := re.match(r"Interpolation key '((\w+)\.\S+)' not found", str(cause)):
        group = str(cause.full_key).partition(".")[0]
        return UserError(
            cause.full_key or group,
            f"is taken from {lacking[1]}, which the chosen {lacking[2]} does not have",
            do=f"choose another {group}=... for this {lacking[2]}, or another {lacking[2]}=... for this {group}",
        )
    if cause.full_key:
        return UserError(cause.full_key, _one_line(str(cause)))
    return UserError(_file(error), _one_line(str(error)) or _one_line(str(cause)))


def _file(error: BaseException) -> str:
    """Return the file that an error is about."""
    mark = getattr(error, "problem_mark", None)  # of YAML
    return getattr(mark, "name", None) or in_hand(error) or "configuration"


def _override(error: BaseException) -> str:
    """Return the override that Hydra was looking at when it raised an error whose message names none."""
    trace, found = error.__traceback__, None
    while trace is not None:
        found, trace = trace.tb_frame.f_locals.get("override", found), trace.tb_next
    return str(getattr(found, "input_line", None) or "the command line")


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    kept = [
        line
        for line in lines
        if line and not re.match(r"(full_key|object_type|reference_type)\b|set ", line, re.I)
    ]
    return re.sub(r"\s+", " ", "; ".join(kept)).replace("\x1b", "")


def _missing_choice(file: str, options: Iterable[str], text: str) -> UserError:
    group, _, choice = file.removesuffix(".yaml").rpartition("/")
    if not group:
        return UserError("configuration", _one_line(text))
    return UserError(f"{group}={choice}", "no such choice", do=nearest(choice, options))


def _around(cause: typing.Any) -> Mapping[str, typing.Any]:
    """Return what is known of the configuration in which OmegaConf misses a key: the section around the key."""
    from omegaconf import DictConfig

    node, name = cause.parent_node, str(cause.full_key or "").partition(".")[0]
    registry = BY_SECTION.get(name)
    above = node and node._get_parent()
    while above and above._get_parent():
        node, above = above, above._get_parent()
    if registry is None or not isinstance(node, DictConfig):
        return {}
    return {name: {registry.tag: node.get(registry.tag)}}


def _unknown(path: Path, more: str, plain: Mapping[str, typing.Any]) -> UserError:
    dotted = ".".join(map(str, path))
    names = valid_names(path[:-1], plain)
    if len(path) == 1:
        names = [*names, "experiment"]
    if str(path[-1]) in names:  # a key of another kind of this section
        parent, do = (
            dotted.rpartition(".")[0],
            "" if more else f"write ++{dotted}=... where it is of that kind",
        )
        return UserError(dotted, f"belongs to another kind of {parent}{more}", do=do)
    return UserError(dotted, f"no such key{more}", do=nearest(str(path[-1]), names))


def _validation(error: typing.Any, plain: Mapping[str, typing.Any]) -> UserError:
    # A misspelt key also leaves the right one missing, so the misspelling is reported.
    first, *more = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    path = tuple(first["loc"])
    dotted = ".".join(map(str, path))
    rest = f" (and {len(more)} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return _unknown(path, f", got {_got(first['input'])}{rest}", plain)
    if first["type"] == "missing" and isinstance(path[-1], int):
        return UserError(
            ".".join(map(str, path[:-1])), f"value {path[-1] + 1} of the list is missing{rest}", do="add it"
        )
    if first["type"] == "missing":
        return UserError(dotted, f"is missing and has no default{rest}", do=f"set {dotted}=...")
    text = _PYDANTIC_TEXT.get(first["type"]) or re.sub("^(Input|String) should", "must", first["msg"])
    text = text.removeprefix("Value error, ")
    if not text[:2].isupper():  # a sentence, not a variable's name
        text = text[0].lower() + text[1:]
    return UserError(dotted, f"{text}{rest}", value=_got(first["input"]), do=_quotes(first))


def _quotes(problem: typing.Any) -> str:
    """Return advice to quote a value that should be text and that YAML takes for something else; else an empty text."""
    path, value = tuple(problem["loc"]), problem["input"]
    if problem["type"] not in ("string_type", "path_type") or isinstance(value, dict | list):
        return ""
    *parents, last = map(str, path)
    if isinstance(path[-1], int):
        listed = as_text(".".join(parents), value).replace("=", "=[") + ",...]"
        return f"quote it to make it text: {shlex.quote(listed)}"
    return f"quote it to make it text: {shlex.quote(as_text('.'.join((*parents, last)), value))}"


def _got(value: object) -> str:
    switch = value is None or isinstance(value, bool)
    shown = {None: "null", True: "true", False: "false"}[value] if switch else repr(value)  # type: ignore[index]
    return shown if len(shown) <= 80 else shown[:77] + "..."
