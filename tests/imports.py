"""The imports of Slipway's source, read without running it."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1] / "platform" / "slipway"


class Import(NamedTuple):
    """A statement that imports something."""

    module: str
    """Where it stands, without `slipway.`; the root package is the empty name."""
    line: int
    imported: str
    """A module of Slipway's, named in the same way, or `torch.nn`."""
    ours: bool
    at_once: bool
    """Whether it is carried out when the module is imported, and not within a function."""

    def __str__(self) -> str:
        where = self.module.replace(".", "/") or "__init__"
        name = f"slipway.{self.imported}".rstrip(".") if self.ours else self.imported
        return f"platform/slipway/{where}.py:{self.line} imports {name}"


def files(root: Path = ROOT) -> dict[str, Path]:
    """Every module of Slipway's by its name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def read(modules: dict[str, Path]) -> list[Import]:
    """All imports, those for type checkers alone left out."""
    return [
        found
        for module, path in modules.items()
        for found in _statements(module, path.read_text(), set(modules))
    ]


def _statements(module: str, text: str, modules: set[str]) -> Iterator[Import]:
    for node, at_once in _walk(ast.parse(text), True):
        for name in _names(node, modules):
            ours = name == "slipway" or name.startswith("slipway.")
            imported = name.removeprefix("slipway").removeprefix(".") if ours else name
            yield Import(module, node.lineno, imported, ours, at_once)


def _walk(node: ast.AST, at_once: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_once
        elif isinstance(child, ast.expr):
            continue  # most of a tree, and no statement is in it
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _walk(other, at_once)
        else:
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _walk(child, at_once and not inner)


def _names(node: ast.Import | ast.ImportFrom, modules: set[str]) -> list[str]:
    """What a statement imports: of `from slipway.a import b` the module slipway.a.b, where it is one."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.module and not node.level, "relative imports are not used"
    inside = [f"{node.module}.{alias.name}" for alias in node.names]
    found = {name if name.removeprefix("slipway.") in modules else node.module for name in inside}
    return sorted(found)


def within(package: str, imports: Iterable[Import]) -> dict[tuple[str, str], Import]:
    """Between the modules and packages directly inside a package: who imports whom, with one statement of each."""
    start = f"{package}." if package else ""
    found: dict[tuple[str, str], Import] = {}
    for one in imports:
        if not (one.ours and one.module.startswith(start) and one.imported.startswith(start)):
            continue
        ends = [name.removeprefix(start).partition(".")[0] for name in (one.module, one.imported)]
        if ends[0] != ends[1] and all(ends):
            found.setdefault((ends[0], ends[1]), one)
    return found


def reaching(names: Iterable[str], imports: Iterable[Import]) -> dict[str, Import]:
    """The modules that import these foreign packages when they are imported, by themselves or by another module."""
    at_once = [one for one in imports if one.at_once]
    found = {
        one.module: one for one in at_once if not one.ours and one.imported.partition(".")[0] in set(names)
    }
    while more := [one for one in at_once if one.ours and one.imported in found and one.module not in found]:
        found |= {one.module: one for one in more}
    return found
