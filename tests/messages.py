"""All messages of errors, read from the source: what tests/golden/messages.txt holds, to be reviewed as text."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "platform" / "slipway"
GOLDEN = Path(__file__).with_name("golden") / "messages.txt"
PARTS = ("path", "problem", "value", "use", "do")
KINDS = ("UserError", "Fault")


def messages() -> list[str]:
    """Return a line for each message, `module: path | problem | use`, by module and in the order of the source."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    kinds = _kinds(trees.values())
    found = []
    for path, tree in trees.items():
        module = str(path.relative_to(PACKAGE).with_suffix(""))
        constants = _constants(tree)
        found += [f"{module}: {_line(call, constants)}" for call in calls(tree, kinds)]
        found += [f"{module}: {line}" for line in _advice(tree, constants)]
    return found


def calls(tree: ast.Module, kinds: set[str]) -> Iterator[ast.Call]:
    """The calls that make or change an error: of its class, of its base's constructor, of `replaced`."""
    bases = {
        id(node)
        for kind in ast.walk(tree)
        if isinstance(kind, ast.ClassDef) and kind.name in kinds
        for node in ast.walk(kind)
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not (node.args or node.keywords):
            continue
        name = _name(node.func)
        if name in kinds or name == "replaced" or (name == "__init__" and id(node) in bases):
            found.append(node)
    return (node for node in sorted(found, key=lambda node: node.lineno) if _has_words(node))


def _kinds(trees) -> set[str]:
    """UserError, Fault and every class derived from them, by name."""
    kinds: set[str] = set(KINDS)
    before = 0
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while len(kinds) > before:
        before = len(kinds)
        kinds |= {kind.name for kind in classes if any(_name(base) in kinds for base in kind.bases)}
    return kinds


def _has_words(call: ast.Call) -> bool:
    """Whether a message is made, and not an error made again of another's parts, or put under another path."""
    words = {word.arg for word in call.keywords}
    return None not in words and (len(call.args) > 1 or bool(words - {"path"}))


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Text that a module gives a name."""
    return {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _advice(tree: ast.Module, constants: dict[str, ast.expr]) -> list[str]:
    """What to do by case, where a module has a table ADVICE of it."""
    return [
        f"ADVICE[{ast.unparse(key)}] | {_template(value, constants)}"
        for node in tree.body
        if isinstance(node, ast.Assign)
        and _name(node.targets[0]) == "ADVICE"
        and isinstance(node.value, ast.Dict)
        for key, value in zip(node.value.keys, node.value.values, strict=True)
        if key is not None
    ]


def _line(call: ast.Call, constants: dict[str, ast.expr]) -> str:
    given = dict(zip(PARTS, call.args, strict=False)) | {str(word.arg): word.value for word in call.keywords}
    text = {part: _template(node, constants) for part, node in given.items()}
    problem = " ".join(text[part] for part in ("value", "problem") if part in text)
    remedy = ", or ".join(
        [f"use {text[part]}" if part == "use" else text[part] for part in ("use", "do") if part in text]
    )
    return " | ".join(filter(None, (text.get("path", "(its path)"), problem, remedy)))


def _template(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    """Text with `{expression}` for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value).lower() if isinstance(node.value, bool) else str(node.value) or "''"
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left, constants) + _template(node.right, constants)
    if isinstance(node, ast.IfExp):
        choices = _template(node.body, constants), _template(node.orelse, constants)
        return " / ".join(choice for choice in choices if choice != "''")
    if isinstance(node, ast.Name) and node.id in constants:
        return _template(constants[node.id], constants)
    return "{" + ast.unparse(node) + "}"
