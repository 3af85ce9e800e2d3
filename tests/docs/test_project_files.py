"""The version stands in one place, and what names it agrees; what SECURITY.md names as a test is one."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import __version__
from slipway.image import pins

ROOT = Path(__file__).resolve().parents[2]
RELEASE = re.compile(r"(?m)^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$")
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    return yaml.load(text("CITATION.cff"), Loader=yaml.BaseLoader)


def test_the_newest_release_is_this_version(citation: dict[str, Any]) -> None:
    (version, date), *_ = RELEASE.findall(text("CHANGELOG.md"))
    assert version == __version__ == pins.slipway_version(ROOT) == citation["version"]
    assert date == citation["date-released"]


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    changelog = text("CHANGELOG.md")
    titles = re.findall(r"(?m)^## (.*)$", changelog)
    assert titles[0] == "[Unreleased]" and all(RELEASE.fullmatch(f"## {title}") for title in titles[1:])
    assert set(re.findall(r"(?m)^### (.*)$", changelog)) <= SECTIONS


def test_the_citation_has_what_its_schema_requires(citation: dict[str, Any]) -> None:
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"] and citation["title"]
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert [author["name"] for author in citation["authors"]] == [one["name"] for one in project["authors"]]
    assert citation["license"] == project["license"]


@pytest.mark.parametrize("name, least", [("SECURITY.md", 8), ("README.md", 3), ("CONTRIBUTING.md", 10)])
def test_tests_that_they_name_exist(name: str, least: int) -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.py|\.sh)?)`", text(name))
    assert len(named) >= least
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_targets_of_make_that_they_name_exist(name: str) -> None:
    targets = re.findall(r"`make ([a-z0-9-]+)", text(name))
    known = set(re.findall(r"(?m)^([a-z0-9-]+):", text("Makefile")))
    assert targets and set(targets) <= known
