"""The configuration: a page for each section, from the schema that checks it."""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from pydantic import BaseModel

from generate import markdown
from generate.types import default, kind, plain, sections, unit
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.registry import BY_SECTION

HEAD = ("field", "type", "unit", "default", "description")
EXAMPLES = {  # what a section's example is composed from; of a tagged section by its tag
    "": ("experiment=demo",),
    "model.mae": ("experiment=demo_earth",),
    "data.chat": (
        "model=demo",
        "data=chat",
        "data.sources.chat.inputs=[conversations/]",
        "data.tokenizer.path=tokenizer.json",
    ),
    "data.imagery": ("experiment=demo_earth",),
    "optimizer.muon": ("experiment=demo", "optimizer=muon"),
    "cluster": ("experiment=demo", "cluster=leonardo_booster"),
    "launch": (
        "experiment=demo",
        "cluster=leonardo_booster",
        "launch.account=PROJECT",
        "launch.image=slipway-cuda.sif",
    ),
}


def pages() -> list[tuple[str, str, str]]:
    """Title, path below reference/ and text of each page, the overview first."""
    found = [("Overview", "configuration/index.md", _overview())]
    for name, cls in kinds():
        found.append((name, f"configuration/{name.replace('.', '-')}.md", _page(name, cls)))
    return found


def kinds() -> Iterator[tuple[str, type[BaseModel]]]:
    """All sections of the top level by name; a tagged one once for each of its kinds, as `model.gpt`."""
    for name, field in RunConfig.model_fields.items():
        registry = BY_SECTION.get(name)
        if registry is not None:
            for tag in registry.names():
                yield f"{name}.{tag}", registry.section_class(tag)
        else:
            for cls in sections(field.annotation):
                yield name, cls


def fields(cls: type[BaseModel], path: str) -> Iterator[tuple[str, str, Any, type[BaseModel]]]:
    """Dotted path of the section, name, field and class of each field, those of sections within included."""
    inner = []
    for name, field in cls.model_fields.items():
        yield path, name, field, cls
        named = "NAME." if "section of NAME" in kind(field.annotation) else ""
        inner += [(one, f"{path}.{name}.{named}".rstrip(".")) for one in sections(field.annotation)]
    for one, below in inner:
        yield from fields(one, below)


def _overview() -> str:
    rows = [
        (f"[{name}]({name.replace('.', '-')}.md)", markdown.prose(_summary(cls), "../../"))
        for name, cls in kinds()
    ]
    choices = [f"`{name}` is of the kind that `{one.path}` names." for name, one in BY_SECTION.items()]
    return markdown.page(
        "Configuration",
        "A run is described by these sections. `slipway VERB --help` lists the presets of each group, and "
        "`slipway plan --cfg job experiment=demo` prints a whole configuration. " + " ".join(choices),
        markdown.table(("section", "what it holds"), rows),
        "The columns of the pages: a field without a default has to be given, by a preset or by you; the unit stands "
        "in its column where the field's name states it, else in the description.",
    )


def _page(name: str, cls: type[BaseModel]) -> str:
    path = name.split(".")[0]
    parts, last = [markdown.prose(_summary(cls), "../../")], path
    rows: list[tuple[str, ...]] = []
    for section, field_name, field, owner in [*fields(cls, path), ("", "", None, cls)]:
        if section != last:
            parts.append(markdown.table(HEAD, rows))
            rows, last = [], section
            if section:
                parts += [f"## {markdown.prose(section)}", markdown.prose(_summary(owner), "../../")]
        if field is not None:
            rows.append(_row(field_name, field))
    given, found = example(name)
    parts += ["## Example", f"With `{' '.join(given)}`:", markdown.block(found, "yaml")]
    return markdown.page(name, *parts)


def _row(name: str, field: Any) -> tuple[str, ...]:
    inner = sections(field.annotation)
    given = default(field)
    if inner and given not in ("", "null", "[]", "{}"):
        given = ""  # its fields have theirs, below
    return (
        markdown.code(name),
        kind(field.annotation, field.metadata),
        unit(name, field),
        markdown.code(given) if given else "",
        markdown.prose(field.description or " ".join(map(_summary, inner)), "../../"),
    )


def example(name: str) -> tuple[tuple[str, ...], str]:
    """The overrides of a section's example, and what the section then is, as YAML."""
    section = name.split(".")[0]
    given = EXAMPLES.get(name, EXAMPLES.get(section, EXAMPLES[""]))
    found = plain(getattr(_composed(given), section))
    return given, yaml.safe_dump({section: found}, sort_keys=False, allow_unicode=True, width=100)


@cache
def _composed(overrides: tuple[str, ...]) -> RunConfig:
    return compose(list(overrides))


def _summary(cls: type[BaseModel]) -> str:
    """What the class says of itself, without the part for programmers."""
    return (inspect.getdoc(cls) or "").partition("\n\n")[0]
