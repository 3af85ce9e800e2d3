"""The files of a run, from the class that names them."""

import ast
import inspect

from generate import markdown
from slipway import run_dir


def page() -> str:
    """The page."""
    rows = [(markdown.code(place), markdown.prose(text)) for _, place, text in places()]
    return markdown.page(
        "Files of a run",
        "What a run's directory (`run.dir`) holds. [Runs](../runs.md#the-files-of-a-run) says of each file whether it "
        "is the truth or derived from it, when it is on disk, and who removes it.",
        markdown.table(("below run.dir", "what it is"), rows),
    )


def places() -> list[tuple[str, str, str]]:
    """Attribute of RunDir, path below run.dir and description of each file and folder."""
    (cls,) = ast.parse(inspect.getsource(run_dir.RunDir)).body
    assert isinstance(cls, ast.ClassDef)
    found = []
    for node, after in zip(cls.body, cls.body[1:], strict=False):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        assert isinstance(node.targets[0], ast.Name)
        assert isinstance(after, ast.Expr) and isinstance(
            after.value, ast.Constant
        )  # a string below each name
        parts = [ast.literal_eval(word) for word in node.value.args]
        found.append((node.targets[0].id, "/".join(parts), str(after.value.value)))
    return found
