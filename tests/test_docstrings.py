"""Docstrings keep the rules of CONTRIBUTING.md, "Style", as far as a program can tell.

ruff sees that they exist. Here: a function's begins with a verb; what it returns, what it raises by itself and the
shapes of its tensors and arrays are named.
"""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "platform" / "slipway"
PARTS = sorted(path for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))) + [PACKAGE]
SHORTEST = 20  # characters; "Pods." and "The wish." say nothing
ARRAYS = re.compile(r"\b(Tensor|ndarray|NDArray)\b")
SHAPE = re.compile(r"\[[^\]]*\]|\bshapes?\b|\bscalars?\b")
_VERBS = """
    Accept Accumulate Add Adapt Adjust Align Allow Allocate Answer Append Apply Arrange Ask Assemble Assert Assign
    Attach Attend Average Balance Begin Bind Bound Bring Broadcast Build Cache Calculate Call Cancel Capture Cast
    Change Check Choose Clamp Clean Clear Clip Clone Close Collect Combine Compare Compile Complete Compose Compress
    Compute Concatenate Configure Connect Consume Continue Convert Copy Correct Count Cover Create Cut Damage Decide
    Decode Define Delay Delete Derive Describe Detach Detect Discard Distribute Divide Download Draw Drop Embed Enable
    Encode End Enforce Ensure Enter Escape Estimate Evaluate Examine Exchange Exclude Execute Exit Expand Explain
    Export Expose Extend Extract Fail Feed Fetch Fill Filter Find Finish Fit Flatten Flush Fold Follow Forget Fork
    Format Forward Freeze Gather Generate Get Give Group Guard Guess Handle Hash Hide Hold Ignore Import Include Infer
    Initialize Insert Inspect Install Interleave Interpolate Interrupt Invert Invoke Iterate Join Keep Kill Label
    Launch Lay Leave Let Limit List Load Locate Lock Log Look Make Map Mark Mask Match Measure Merge Mirror Mix Move
    Multiply Name Normalize Note Notify Observe Offer Open Order Overlap Pack Pad Parse Partition Pass Patch Permute
    Pick Place Plan Plot Poll Predict Prepare Preserve Prevent Print Produce Profile Project Prove Put Quantize Query
    Quote Raise Rank Read Rebuild Receive Recognize Recompute Record Recover Redirect Reduce Refuse Register Reject
    Release Remember Remove Rename Render Reorder Repeat Replace Reply Report Request Require Reserve Reset Reshape
    Resolve Restore Restrict Resume Retry Return Reuse Rewrite Rotate Round Route Run Sample Save Say Scale Scan Scatter
    Score Search Select Send Separate Serve Set Shift Shorten Show Shuffle Sign Signal Simulate Skip Sleep Slice Sort
    Spawn Split Start State Step Stop Store Stream Submit Subtract Sum Supply Swap Switch Synchronize Take Tell
    Terminate Test Time Tokenize Trace Train Transform Translate Transpose Treat Trim Truncate Try Turn Undo Unlock
    Unpack Update Upload Use Validate Verify Visit Wait Wake Walk Warn Watch Weigh Weight Wrap Write Yield Zero
"""
VERBS = frozenset(_VERBS.split())


@dataclass
class Function:
    """A function of the package that has a docstring."""

    where: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    text: str
    public: bool

    @property
    def returns(self) -> bool:
        """Whether a caller is given something."""
        kind = "None" if self.node.returns is None else ast.unparse(self.node.returns)
        held = any("contextmanager" in ast.unparse(decorator) for decorator in self.node.decorator_list)
        return kind not in ("None", "NoReturn", "Self") and not held

    @property
    def raised(self) -> set[str]:
        """The exceptions that its own statements raise anew, but those that only a programmer sees."""
        names = set()
        for statement in _own(self.node):
            if isinstance(statement, ast.Raise) and isinstance(statement.exc, ast.Call):
                name = ast.unparse(statement.exc.func).rpartition(".")[2]
                names |= {name} if name[0].isupper() else set()
        return names - {"AssertionError", "NotImplementedError", "SystemExit"}

    @property
    def arrays(self) -> bool:
        """Whether it takes or returns tensors or arrays."""
        arguments = self.node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        kinds = [argument.annotation for argument in every] + [self.node.returns]
        return any(kind is not None and ARRAYS.search(ast.unparse(kind)) for kind in kinds)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """A function's statements, without those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own(child)


def _functions(path: Path) -> Iterator[Function]:
    def walk(node: ast.AST, private: bool, inside: bool) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                is_property = any("property" in ast.unparse(each) for each in child.decorator_list)
                text = ast.get_docstring(child)
                hidden = private or inside or child.name.startswith("_")
                if text and not is_property:
                    where = f"{os.path.relpath(path, ROOT)}:{child.body[0].lineno} {child.name}"
                    yield Function(where, child, text, not hidden)
                yield from walk(child, private, True)
            else:
                is_class = isinstance(child, ast.ClassDef)
                yield from walk(child, private or (is_class and child.name.startswith("_")), inside)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False, False)


def _faults(function: Function) -> Iterator[str]:
    text = function.text
    if (first := text.split()[0].rstrip(".,:;")) not in VERBS:
        yield f"begins with {first!r}, which is no verb (a verb that is not in VERBS: add it)"
    if len(text) < SHORTEST:
        yield f"says little: {text!r}"
    if not function.public:
        return
    if function.returns and not re.search(r"\b([Rr]eturn|[Yy]ield|[Tt]ell)", text):
        yield "does not say what is returned"
    for name in sorted(function.raised):
        if not re.search(rf"\b{name}\b", text):
            yield f"does not say that it raises {name}, and when"
    if function.arrays and not SHAPE.search(text):
        yield "gives no shape of its tensors or arrays"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_docstrings(part: Path) -> None:
    paths = sorted(part.glob("*.py") if part == PACKAGE else part.rglob("*.py"))
    found = [
        f"{function.where}: {fault}"
        for path in paths
        for function in _functions(path)
        for fault in _faults(function)
    ]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    "source, faults",
    [
        ('def f() -> int:\n    """The number of ranks of a run."""', 2),
        ('def f() -> int:\n    """Count the ranks of a run."""', 1),
        ('def f() -> int:\n    """Return the number of ranks of a run."""', 0),
        ('def _f() -> int:\n    """Count the ranks of a run."""', 0),
        ('def f() -> None:\n    """Check the ranks of a run."""\n    raise UserError("a", "b")', 1),
        ('def f() -> None:\n    """Check the ranks. Raises UserError."""\n    raise UserError("a", "b")', 0),
        ('def f(x: torch.Tensor) -> None:\n    """Scale the input in its place."""', 1),
        ('def f(x: torch.Tensor) -> None:\n    """Scale the input [s, b, h] in its place."""', 0),
        ('class A:\n    @property\n    def a(self) -> int:\n        """The number of ranks."""', 0),
    ],
)
def test_the_rules_can_fail(
    source: str, faults: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert sum(len(list(_faults(function))) for function in _functions(path)) == faults
