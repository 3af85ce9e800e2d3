"""Links of the documentation: from the paths of the repository, where code hosts show the pages, to the site's."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {
    "README.md": "start/project.md",
    "CONTRIBUTING.md": "dev/contributing.md",
    "CHANGELOG.md": "dev/changelog.md",
    "containers/README.md": "dev/versions.md",
    "deploy/README.md": "dev/deploy.md",
    "deploy/kubernetes/README.md": "dev/manifests.md",
}
"""Pages that stand elsewhere in the repository, and their place in the site."""
_LINK = re.compile(
    r"(?P<code>(?P<ticks>`+).*?(?P=ticks))|\[(?P<text>(?:`[^`]*`|[^\[\]])*)\]\((?P<to>[^()\s]+)\)"
)


def with_links(markdown: str, place: str, places: set[str], repo_url: str | None) -> str:
    """Return a page with its links changed from the repository's paths to the site's.

    Args:
        markdown: The page.
        place: Its path in the site.
        places: Paths of all files in the site.
        repo_url: Of the code host; None where links to code are to be their text alone.
    """
    source = {to: at for at, to in OUTSIDE.items()}.get(place, f"docs/{place}")

    def changed(match: re.Match[str]) -> str:
        if match["code"] or re.match(r"[a-z]+:|#|/", match["to"]):
            return match[0]
        path, hash_, anchor = match["to"].partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        inside = OUTSIDE.get(target, target.removeprefix("docs/"))
        if (target in OUTSIDE or target.startswith("docs/")) and inside in places:
            to = posixpath.relpath(inside, posixpath.dirname(place) or ".")
            return f"[{match['text']}]({to}{hash_}{anchor})"
        if not target.startswith("docs/") and (ROOT / target).exists():
            return (
                f"[{match['text']}]({repo_url.rstrip('/')}/blob/main/{target})" if repo_url else match["text"]
            )
        return match[0]  # leads nowhere, which MkDocs says

    return "".join(part if fenced else _LINK.sub(changed, part) for fenced, part in _parts(markdown))


def _parts(markdown: str) -> list[tuple[bool, str]]:
    """A page as stretches of text and of fenced code."""
    found: list[tuple[bool, list[str]]] = [(False, [])]
    for line in markdown.splitlines(keepends=True):
        fence = line.lstrip().startswith("```")
        if fence and not found[-1][0]:
            found.append((True, [line]))
        elif fence:
            found[-1][1].append(line)
            found.append((False, []))
        else:
            found[-1][1].append(line)
    return [(fenced, "".join(lines)) for fenced, lines in found]
