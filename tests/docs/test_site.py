"""What makes a site of docs/: its links, what it must not load, and the pages that name messages and tests."""

import re
from pathlib import Path

import pytest

from console_blocks import ROOT
from generate.check import foreign, main
from generate.links import OUTSIDE, with_links

PLACES = {"launch.md", "runs.md", "dev/performance.md", "reference/metrics.md", *OUTSIDE.values()}
MESSAGES = (ROOT / "tests" / "golden" / "messages.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "written", "site"),
    [
        ("launch.md", "[a](runs.md#the-files)", "[a](runs.md#the-files)"),
        ("launch.md", "[a](../CONTRIBUTING.md)", "[a](dev/contributing.md)"),
        ("launch.md", "[a](../README.md#goals)", "[a](start/project.md#goals)"),
        ("dev/contributing.md", "[a](docs/launch.md#x)", "[a](../launch.md#x)"),
        ("dev/manifests.md", "[a](../../docs/launch.md)", "[a](../launch.md)"),
        ("dev/performance.md", "[a](../runs.md) `[b](c)`", "[a](../runs.md) `[b](c)`"),
        ("launch.md", "[`cluster.py`](../platform/slipway/config/cluster.py)", "`cluster.py`"),
        ("launch.md", "[a](https://arxiv.org/x) [b](#c)", "[a](https://arxiv.org/x) [b](#c)"),
        ("launch.md", "[a](../platform/gone.py)", "[a](../platform/gone.py)"),  # for MkDocs to refuse
        (
            "launch.md",
            "```\n[a](../README.md)\n```\n[a](../README.md)",
            "```\n[a](../README.md)\n```\n[a](start/project.md)",
        ),
        ("reference/metrics.md", "[a](../runs.md)", "[a](../runs.md)"),
    ],
)
def test_links_of_the_repository_lead_to_pages_of_the_site(place: str, written: str, site: str) -> None:
    assert with_links(written, place, PLACES, None) == site


def test_links_to_code_lead_to_the_code_host_where_one_is_named() -> None:
    found = with_links("[a](../Makefile)", "launch.md", PLACES, "https://host.example/slipway/")
    assert found == "[a](https://host.example/slipway/blob/main/Makefile)"


@pytest.mark.parametrize(
    "markup",
    [
        '<script src="https://cdn.example/a.js"></script>',
        "<script src='//cdn.example/a.js'></script>",
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="https://pictures.example/a.png">',
        '<div style="background: url(https://pictures.example/a.png)"></div>',
        "<style>@import 'https://fonts.example/css';</style>",
        '<pre class="mermaid">graph LR</pre>',
    ],
)
def test_what_a_page_would_load_from_another_host_is_found(tmp_path: Path, markup: str) -> None:
    (tmp_path / "page.html").write_text(f"<html>{markup}</html>")
    assert len(list(foreign(tmp_path))) == 1 and main(tmp_path) == 1


def test_links_for_readers_and_files_of_the_site_are_fine(tmp_path: Path) -> None:
    page = '<link rel="canonical" href="https://a.example/"><a href="//b.example"></a><script src="a.js"></script>'
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "a.css").write_text(
        "a{background:url(data:image/svg+xml;charset=utf-8,<svg xmlns='http://www.w3.org/2000/svg'/>)}"
    )
    assert list(foreign(tmp_path)) == []
    assert main(tmp_path) == 1  # no index to search in
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search_index.js").write_text("var __index = {}")
    assert main(tmp_path) == 0


def test_a_style_that_loads_from_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face{src:url('https://fonts.example/a.woff2')}")
    assert len(list(foreign(tmp_path))) == 1


def test_messages_of_the_troubleshooting_page_are_messages() -> None:
    """Each piece of a line that the page quotes stands in a message; `...` is what differs."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        words
        for line in page.splitlines()
        if line.startswith("| `")
        for words in re.findall(r"`([^`]+)`", line.split(" | ")[0])
    ]
    messages = [re.sub(r"\{[^{}]*(\{[^{}]*\})*[^{}]*\}", "...", line) for line in MESSAGES.splitlines()]
    assert len(quoted) > 40
    for words in quoted:
        pieces = [re.escape(piece) for piece in words.split("...") if piece.strip()]
        pattern = re.compile(".*".join(piece.replace(r"\ ", " ").strip() for piece in pieces))
        assert any(pattern.search(line) for line in messages), words


@pytest.mark.parametrize("page", ["status.md", "troubleshooting.md"])
def test_files_and_targets_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:tests|containers|deploy)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z0-9-]+)`", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
