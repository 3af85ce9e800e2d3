"""Finds phrases of tests/phrases.txt in the program and its documentation; `make lint` runs it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".txt")
READ = (
    "platform/**/*.py",
    "conf/**/*.yaml",
    "containers/*",
    "docs/*.md",
    "*.md",
    "tests/golden/messages.txt",
)
OTHERS = ("README.md", "CHANGELOG.md")
"""Files at the root that are not read."""


def phrases() -> dict[str, str]:
    """Return what to use instead of each phrase, by its regular expression."""
    lines = (line for line in LIST.read_text(encoding="utf-8").splitlines() if line and line[0] != "#")
    return {phrase: instead for phrase, _, instead in (line.partition(" -> ") for line in lines)}


def found(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, phrase and what to use instead for each phrase of a text, also over the ends of lines.

    Rows of the glossary and the rule that names phrases are no use of them: CONTRIBUTING.md's.
    """
    for phrase, instead in phrases().items():
        space = r'(?:\s*"\s+f?"\s*|\s+#\s+|\s+)'
        pattern = re.compile(rf"(?<![\w/-]){phrase.replace(' ', space)}(?!\w)", re.IGNORECASE)
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead


def without_glossary(text: str) -> str:
    """Return CONTRIBUTING.md with empty lines for the rows of its glossary and the rule before it."""
    lines = text.split("\n")
    return "\n".join("" if line.startswith(("| ", "- Use the present tense")) else line for line in lines)


def everywhere() -> Iterator[str]:
    """Yield a line for each phrase in the files that are read."""
    for path in sorted({path for pattern in READ for path in ROOT.glob(pattern) if path.is_file()}):
        if path.name in OTHERS and path.parent == ROOT:
            continue
        text = path.read_text(encoding="utf-8")
        text = without_glossary(text) if path.name == "CONTRIBUTING.md" else text
        for line, phrase, instead in found(text):
            yield f"{path.relative_to(ROOT)}:{line}: `{phrase}` is not used; use: {instead}"


if __name__ == "__main__":
    lines = list(everywhere())
    print("\n".join(lines) or f"{len(phrases())} phrases that are not used: none found")
    sys.exit(bool(lines))
