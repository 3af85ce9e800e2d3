"""Write all pages of the reference, and the menu that lists them, into the folder that the command line names."""

import json
import sys
from pathlib import Path

from generate import api, command_line, configuration, exit_codes, metrics, run_files

Menu = list[dict[str, str | list[dict[str, str]]]]


def pages() -> tuple[dict[str, str], Menu]:
    """All pages by their path below reference/, and the menu of them by their paths in the site."""
    single = {
        "Exit codes": ("exit-codes.md", exit_codes.page()),
        "Files of a run": ("run-files.md", run_files.page()),
        "Metrics": ("metrics.md", metrics.page()),
        "Python API": ("api.md", api.page()),
    }
    texts: dict[str, str] = {}
    menu: Menu = []
    for title, part in (("Configuration", configuration.pages()), ("Command line", command_line.pages())):
        texts |= {place: text for _, place, text in part}
        menu.append({title: [{name: f"reference/{place}"} for name, place, _ in part]})
    for title, (place, text) in single.items():
        texts[place] = text
        menu.append({title: f"reference/{place}"})
    return texts, menu


def main(folder: Path) -> None:
    """Write them, and remove what an earlier build has left."""
    texts, menu = pages()
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).as_posix() not in texts:
            path.unlink()
    for place, text in texts.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "menu.json").write_text(json.dumps(menu, indent=1), encoding="utf-8")
    print(f"{folder}: {len(texts)} pages of the reference")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
