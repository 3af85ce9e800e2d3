"""Every place of a configuration that takes a string, found by walking its schema; and strings nobody should write."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from slipway.config.schema import RunConfig
from slipway.registry import BY_SECTION

NEW = object()
"""Part of a path: a new item of a list, or a new key of a mapping."""
KEY = object()
"""Last part of a path: the key itself is the string."""

Path = tuple[Any, ...]

# `canary` is a command that leaves a trace where a test runs shells.
NASTY = [
    "$(canary)",
    "`canary`",
    "'; canary; '",
    '"; canary; "',
    "\\'; canary #",
    "x\ncanary\n",
    "x\n#SBATCH --partition=evil\ncanary\n",
    "x\nSLIPWAY_PLAN_JSON\ncanary\n",
    "x\rcanary\r",
    "x\0canary",
    "--help",
    "-rf",
    "{{ 7 * 7 }}{% raw %}{# no #}",
    "${IFS}canary$((1/0))",
    "~root/*?[a-z]!! canary & | > <",
    "$(POD_NAME) $$(x) $$",
    "key: {a: [b], *c: &d} # e",
    "- yes\n- !!python/object:os.system [canary]",
    "---\n...\n%YAML",
    "null",
    "1e3",
    "0x1F",
    "no",
    " leading and trailing ",
    "%j%A%%",
    "é→\u2028\u0085\u200b\U0001f680\ufeff",
    "\x1b[31mred\x7f",
    "\ud800",
    "",
]
TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=30),
    st.lists(
        st.sampled_from([*"'\"`$(){}[];&|<>#!\\\n\t =:,-*~%@?/.", "canary", "$(canary)", "a", "EOF"]),
        max_size=12,
    ).map("".join),
)


def places(schema: dict[str, Any] | None = None) -> list[Path]:
    """All paths to strings that a user can choose; words from a fixed list are no such strings."""
    if schema is not None:
        return sorted(set(_places(schema, schema["$defs"], ())), key=str)
    found = set(places(RunConfig.model_json_schema()))
    for registry in BY_SECTION.values():  # what a tag names has the fields of its own class
        for name in registry.packages:
            own = registry.section_class(name).model_json_schema()
            found |= set(_places(own, own.get("$defs", {}), (registry.section,)))
    return sorted(found, key=str)


def _places(node: dict[str, Any], known: dict[str, Any], at: Path) -> Iterator[Path]:
    if "$ref" in node:
        yield from _places(known[node["$ref"].rpartition("/")[2]], known, at)
    for inner in [*node.get("anyOf", []), *node.get("oneOf", []), *node.get("allOf", [])]:
        yield from _places(inner, known, at)
    if node.get("type") == "string" and "enum" not in node and "const" not in node:
        yield at
    for name, inner in node.get("properties", {}).items():
        yield from _places(inner, known, (*at, name))
    mappings = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    for values in mappings:
        if isinstance(values, dict):
            yield (*at, KEY)
            yield from _places(values, known, (*at, NEW))
    for inner in [
        *([node["items"]] if isinstance(node.get("items"), dict) else []),
        *node.get("prefixItems", []),
    ]:
        yield from _places(inner, known, (*at, NEW))


def put(plain: dict[str, Any], path: Path, text: str) -> dict[str, Any]:
    """A configuration's JSON with a text at a place; what is missing around it is made."""
    return _put(deepcopy(plain), path, text)


def _put(node: Any, path: Path, text: str) -> Any:
    if not path:
        return text
    first, *rest = path
    if first is KEY:
        node = dict(node or {})
        like = deepcopy(next(iter(node.values()), "value"))
        return {**node, text: like}
    if first is NEW:
        if isinstance(node, list) or node is None:
            before = node or []
            last = deepcopy(before[-1]) if before and rest else None
            return [*(before[:-1] if rest and before else before), _put(last, tuple(rest), text)]
        name = next(iter(node), "A_NAME")
        return {**node, name: _put(node.get(name), tuple(rest), text)}
    node = dict(node or {})
    return {**node, first: _put(node.get(first), tuple(rest), text)}


def named(path: Path) -> str:
    """For messages."""
    return ".".join("[]" if part is NEW else "{}" if part is KEY else part for part in path)
