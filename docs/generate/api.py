"""The functions that people call from Python, from their signatures and docstrings."""

import ast
import importlib
import inspect
import itertools
import re
import textwrap
from pathlib import Path

from generate import markdown

EXAMPLE = Path(__file__).parent / "examples" / "api.py"
"""A program that is shown at the top of the page; tests/docs/test_reference.py runs it."""
GROUPS: dict[str, tuple[str, ...]] = {
    "Plan a run": ("config.compose.compose", "plan.plan.make_plan", "plan.plan.replan", "plan.plan.Plan"),
    "Render and place it": (
        "launch.placement.place",
        "launch.command.workdir_of",
        "launch.command.render",
    ),
    "Read what a run left": (
        "report.run.read",
        "report.run.Recorded",
        "metrics.file.read",
        "checkpoint.store.complete",
        "checkpoint.store.newest_good",
        "checkpoint.store.verify",
        "checkpoint.store.CheckpointInfo",
        "runs.weights.Weights",
    ),
    "Errors": ("errors.UserError", "errors.Fault"),
}


def page() -> str:
    """Return the page: an example, then each function or class by its subject."""
    parts = [
        "These are the functions for notebooks and scripts of your own. The names are those below `slipway`. Only the "
        "weights need torch.",
        markdown.block(EXAMPLE.read_text(encoding="utf-8"), "python"),
    ]
    for title, names in GROUPS.items():
        parts += [f"## {title}", *(_entry(name) for name in names)]
    return markdown.page("Python API", *parts)


def _entry(path: str) -> str:
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(f"slipway.{module}"), name)
    text = inspect.getdoc(found)
    assert text, f"{path} has no docstring"
    lines = [
        f"### {path}",
        markdown.block(f"from slipway.{module} import {name}\n\n{_signature(found)}", "python"),
    ]
    lines.append(_text(text))
    if inspect.isclass(found) and not issubclass(found, Exception):
        if made := getattr(vars(found).get("__init__"), "__doc__", None):
            lines.append(_text(inspect.cleandoc(made)))
        if rows := _fields(found):
            lines.append(markdown.table(("attribute", "meaning"), rows))
    return "\n\n".join(lines)


def _signature(found: object) -> str:
    assert callable(found)
    shown = inspect.signature(found)
    if inspect.isclass(found) and "model_fields" in dir(found):
        return f"{found.__name__}  # made by the functions above"
    name = getattr(found, "__name__", "")
    text = re.sub(r"(?:slipway|pathlib|collections|typing)\.(?:\w+\.)*(?=\w)", "", f"{name}{shown}")
    return text.replace("'", "").replace('"', "")


def _text(docstring: str) -> str:
    """Return a docstring in Google's style as Markdown: its sections become lists."""
    parts = re.split(r"(?m)^(Args|Raises|Returns):\n", docstring)
    shown = [markdown.prose(paragraph) for paragraph in parts[0].split("\n\n")]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        items = re.findall(r"(?m)^    (\w+): (.*(?:\n {8}.*)*)", body)
        listed = [f"- {markdown.code(name)}: {markdown.prose(text)}" for name, text in items]
        shown += [
            f"**{'Arguments' if title == 'Args' else title}**",
            "\n".join(listed) or markdown.prose(body),
        ]
    return "\n\n".join(part for part in shown if part)


def _fields(found: type) -> list[tuple[str, str]]:
    """Return a class's attributes with their meanings: the strings below its fields, and its properties'."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(found))).body
    assert isinstance(tree, ast.ClassDef)
    described = {}
    for field, below in itertools.pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            described[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(below.value))
    for name, value in vars(found).items():
        if isinstance(value, property) and not name.startswith("_"):
            described[name] = inspect.getdoc(value) or ""
    return [(markdown.code(name), markdown.prose(text)) for name, text in described.items() if text]
