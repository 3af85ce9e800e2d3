"""What MkDocs does besides building docs/: it adds the generated reference, and pages from outside of docs/.

The pages of docs/ are read on code hosts, too, so their links are those of the repository. Here a link to a file that
is a page of the site leads to that page; one to another file of the repository (code, a template) is its text alone,
or leads to the code host where `repo_url` names one. MkDocs itself finds links that lead nowhere.
"""

import json

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from generate.links import OUTSIDE, ROOT, with_links

REFERENCE = ROOT / "build" / "reference"
"""Where docs/generate has written the reference."""
WIDE = ("status.md",)
"""Pages of one wide table."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the reference into the menu."""
    if not (REFERENCE / "menu.json").is_file():
        raise PluginError(f"{REFERENCE} holds no reference: run `make docs`, which generates it first")
    for entry in config.nav or []:
        if "Reference" in entry:
            entry["Reference"] = json.loads((REFERENCE / "menu.json").read_text(encoding="utf-8"))
    config.watch.append(str(REFERENCE))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and those from outside of docs/."""
    for path in sorted(REFERENCE.rglob("*.md")):
        place = f"reference/{path.relative_to(REFERENCE).as_posix()}"
        files.append(File.generated(config, place, content=path.read_text(encoding="utf-8")))
    for source, place in OUTSIDE.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links that hold in the site; what is wide gets the room of menus beside it."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["navigation", "toc"]
    elif page.file.src_uri.startswith("reference/command-line/"):
        page.meta["hide"] = ["toc"]
    return with_links(markdown, page.file.src_uri, {file.src_uri for file in files}, config.repo_url)
