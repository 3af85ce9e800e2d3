"""Check that a built site loads nothing from another host: `python -m generate.check FOLDER`.

Links to other hosts are for readers to follow. What a browser fetches by itself (scripts, styles, fonts, pictures,
frames, a page's first connection) has to be a file of the site. Fails, too, where search has no index to work with.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

FETCHED = {  # attributes whose address is fetched, by tag
    "audio": ("src",),
    "embed": ("src",),
    "form": ("action",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
FOREIGN = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])\s*((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
LOADERS = ("mermaid", "google-analytics", "googletagmanager", 'data-md-component="source"')
"""What makes the theme's own script load from another host, where a page has it."""


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("canonical", "next", "prev", "license"):
            return  # tells, and fetches nothing
        for name in FETCHED.get(tag, ()):
            if FOREIGN.match(given.get(name) or ""):
                self.found.append(f"<{tag} {name}={given[name]}>")
        if given.get("style"):
            self.found += IN_STYLE.findall(given["style"] or "")


def foreign(folder: Path) -> Iterator[str]:
    """What pages and styles of a site would fetch from other hosts: file and address."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            page = _Page()
            page.feed(text)
            styles = re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
            found = page.found + [one for style in styles for one in IN_STYLE.findall(style)]
            found += [word for word in LOADERS if re.search(rf"<[^>]*{re.escape(word)}", text)]
        elif path.suffix in (".css", ".svg"):
            found = IN_STYLE.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        yield from (f"{path.relative_to(folder)}: {one}" for one in found)


def main(folder: Path) -> int:
    """Print what is wrong; the exit code."""
    pages = list(folder.rglob("*.html"))
    wrong = list(foreign(folder))
    if not pages:
        wrong.append("no page")
    if not (folder / "search" / "search_index.js").is_file():
        wrong.append("search/search_index.js: search has no index")
    for line in wrong:
        print(f"{folder}: {line}", file=sys.stderr)
    if not wrong:
        print(f"{folder}: {len(pages)} pages, which load nothing from other hosts")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
