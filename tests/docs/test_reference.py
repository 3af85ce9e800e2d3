"""The reference of the site is generated whole: every field, verb, option, exit code, file and metric is in it.

What is looked for comes from the code by another way than the pages do: fields from the configurations that pydantic
dumps and from the schema's own list of names, options from the parser.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

import slipway
from generate import api, run_files
from generate.__main__ import main, pages
from generate.configuration import EXAMPLES, _composed, example, fields, kinds
from generate.types import sections
from slipway.config.explain import valid_names
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_CODES
from slipway.metrics.fields import EVENTS
from slipway.registry import BY_SECTION
from slipway.run_dir import RunDir
from slipway.verbs.parse import names
from slipway.verbs.table import VERBS

PACKAGE = Path(slipway.__file__).parent


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return pages()[0]


def rows(page: str, section: str) -> set[str]:
    """First cells of the table below a heading (or below the title)."""
    part = re.search(rf"(?ms)^##? {re.escape(section)}$(.*?)(?=^## |\Z)", page)
    assert part, section
    return set(re.findall(r"^\| `([^`]+)` \|", part[1], re.MULTILINE))


def dumped(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Section and name of all that pydantic dumps of a section, lists and names of the user's own left out."""
    for name, found in value.items() if isinstance(value, dict) else ():
        yield path, name
        if isinstance(found, dict):
            yield from dumped(found, f"{path}.{name}")


def test_every_field_of_every_section_is_in_its_page(texts: dict[str, str]) -> None:
    assert {name.partition(".")[0] for name, _ in kinds()} == set(RunConfig.model_fields) - {"auto"}
    for name, cls in kinds():
        page = texts[f"configuration/{name.replace('.', '-')}.md"]
        section, _, tag = name.partition(".")
        given = {section: {BY_SECTION[section].tag: tag}} if tag else {}
        assert rows(page, name) == set(valid_names((section,), given)), name
        assert issubclass(cls, BaseModel)


@pytest.mark.parametrize("words", sorted(set(EXAMPLES.values())))
def test_every_field_of_a_configuration_is_in_a_page(texts: dict[str, str], words: tuple[str, ...]) -> None:
    config = _composed(words)
    plain = config.model_dump(mode="json")
    looked_at = 0
    for section in set(RunConfig.model_fields) - {"auto"}:
        registry = BY_SECTION.get(section)
        name = f"{section}.{plain[section][registry.tag]}" if registry else section
        page = texts[f"configuration/{name.replace('.', '-')}.md"]
        for path, field in dumped(plain[section], section):
            headings = [
                name if path == section else path,
                re.sub(r"(sources|queues|volumes)\.[^.]+", r"\1.NAME", path),
            ]
            found = [heading for heading in headings if f"# {heading.replace('_', chr(92) + '_')}\n" in page]
            if found:  # else a mapping, whose names are free
                assert field in rows(page, found[-1].replace("_", "\\_")), f"{path}.{field}"
                looked_at += 1
    assert looked_at > 150


def test_every_field_says_what_it_is() -> None:
    without = [
        f"{path}.{name}"
        for kind, cls in kinds()
        for path, name, field, _ in fields(cls, kind)
        if not (field.description or sections(field.annotation))
    ]
    assert without == []


def test_examples_are_sections_that_are_composed() -> None:
    for name, _ in kinds():
        given, text = example(name)
        (section,) = yaml.safe_load(text)
        assert section == name.partition(".")[0] and given
        registry = BY_SECTION.get(section)
        if registry:
            assert yaml.safe_load(text)[section][registry.tag] == name.partition(".")[2]


def test_every_verb_action_and_option_is_in_its_page(texts: dict[str, str]) -> None:
    for verb, described in VERBS.items():
        page = texts[f"command-line/{verb}.md"]
        assert f"({verb}.md)" in texts["command-line/index.md"]
        for title, one in {
            verb: described,
            **{f"{verb} {name}": one for name, one in described.actions.items()},
        }.items():
            assert re.search(rf"^slipway {title}: ", page, re.MULTILINE), title
            for option in one.options:
                assert all(spelling in page for spelling in names(option)), (title, option.name)


def test_every_exit_code_is_in_the_page(texts: dict[str, str]) -> None:
    module = ast.parse((PACKAGE / "errors.py").read_text())
    codes = {
        node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.startswith("EXIT_")
        and isinstance(node.value, ast.Constant)
    }
    assert codes == set(EXIT_CODES) and rows(texts["exit-codes.md"], "Exit codes") == set(map(str, codes))


def test_every_file_of_a_run_is_in_the_page(texts: dict[str, str]) -> None:
    run = RunDir(Path("/run"))
    paths = {
        str(path.relative_to("/run")) for name in vars(RunDir) if isinstance(path := getattr(run, name), Path)
    }
    assert rows(texts["run-files.md"], "Files of a run") == paths
    assert {place for _, place, _ in run_files.places()} == paths and len(paths) > 15


def literals(tree: ast.AST) -> Iterator[str]:
    """The names of events that a module writes: `event="..."`, `{"event": "..."}`, the first text of a call."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.keyword) and node.arg == "event":
            found = [node.value]
        elif isinstance(node, ast.Dict):
            found = [
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "event"
            ]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in (*("_event", "_note", "_tell"),)
            and all(word.arg != "url" for word in node.keywords)
        ):  # the mirror's own: printed, not written
            found = [arg for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        yield from (str(one.value) for one in found[:1] if isinstance(one, ast.Constant))


def test_every_event_is_in_the_page(texts: dict[str, str]) -> None:
    """Both ways: what the code writes is in the table, and the table has nothing that no module spells."""
    written, spelled = set(), set()
    for path in [*(PACKAGE / "train").rglob("*.py"), *(PACKAGE / "metrics").glob("*.py")]:
        if path.name == "fields.py":
            continue
        tree = ast.parse(path.read_text())
        written |= set(literals(tree))
        spelled |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert len(written) > 12 and written <= set(EVENTS)
    assert set(EVENTS) <= spelled
    assert set(EVENTS) <= rows(texts["metrics.md"], "event")


def test_pages_of_an_earlier_build_are_removed(tmp_path: Path) -> None:
    (tmp_path / "configuration").mkdir()
    (tmp_path / "configuration" / "gone.md").write_text("of an earlier version")
    main(tmp_path)
    assert not (tmp_path / "configuration" / "gone.md").exists()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")} == set(pages()[0])
    listed = re.findall(r"reference/([\w/.-]+\.md)", (tmp_path / "menu.json").read_text())
    assert sorted(listed) == sorted(pages()[0])


def test_the_api_page_shows_a_program_that_runs(texts: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, str(api.EXAMPLE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    parameters, memory, title = done.stdout.splitlines()
    assert (
        parameters.startswith("8,030,261,248 ")
        and "GB" in memory
        and title.startswith("# Slipway: llama3_8b")
    )
    assert api.EXAMPLE.read_text(encoding="utf-8").strip() in texts["api.md"]


def test_the_api_page_has_each_of_its_functions_with_a_meaning(texts: dict[str, str]) -> None:
    for name in (name for group in api.GROUPS.values() for name in group):
        part = re.search(rf"(?ms)^### {re.escape(name)}$(.*?)(?=^##|\Z)", texts["api.md"])
        assert part and len(re.sub(r"(?s)```.*?```", "", part[1]).strip()) > 30, name
