"""What is registered is complete: each package says all that its Protocol asks; other packages are found."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from refusals import refused
from slipway.cli import main
from slipway.config.section import DataSection, ModelSection, OptimizerSection
from slipway.data.kind import DataKind
from slipway.models.family import Family
from slipway.optimizers.kind import Algorithm
from slipway.registry import BY_SECTION, DATA_KINDS, FAMILIES, OPTIMIZERS, Registry


class Part(NamedTuple):
    """What the module of each of a registry's packages holds under a name."""

    registry: Registry
    module: str
    name: str
    protocol: type


PARTS = [
    Part(FAMILIES, "family", "FAMILY", Family),
    Part(DATA_KINDS, "kind", "KIND", DataKind),
    Part(OPTIMIZERS, "algorithm", "ALGORITHM", Algorithm),
]
SECTIONS = {"model": ModelSection, "data": DataSection, "optimizer": OptimizerSection}
ENTRIES = [(part, name) for part in PARTS for name in part.registry.names()]


def lacking(protocol: type, thing: Any) -> Iterator[str]:
    """What a thing lacks of a Protocol: names, and functions that cannot be called as it says."""
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        found = getattr(thing, name, None)
        if isinstance(member, property):
            if found is None or callable(found):
                yield name
        elif inspect.isfunction(member):
            asked = list(inspect.signature(member).parameters.values())[1:]
            given = inspect.signature(found).parameters if callable(found) else {}
            if not callable(found) or [p.name for p in asked] != list(given)[: len(asked)]:
                yield name
            elif any(p.default is p.empty for p in list(given.values())[len(asked) :]):
                yield name  # it needs more than it is given
            elif any(p.default is not p.empty and given[p.name].default is p.empty for p in asked):
                yield name  # it needs what is not always given


@pytest.mark.parametrize(("part", "name"), ENTRIES, ids=lambda value: getattr(value, "name", value))
def test_each_package_is_complete(part: Part, name: str) -> None:
    assert list(lacking(part.protocol, getattr(part.registry.part(name, part.module), part.name))) == []
    section: Any = part.registry.section_class(name)
    assert issubclass(section, SECTIONS[part.registry.section])
    assert section.model_fields[part.registry.tag].annotation.__args__ == (name,)  # Literal[name]


def test_what_is_not_complete_is_found() -> None:
    class Half:
        def check(self, configuration: Any) -> None: ...
        def prepare(self, config: Any, progress: bool, more: int) -> str: ...
        def make_ready(self, config: Any, prepare: bool, more: int = 0) -> None: ...
        def open(self, config: Any, split: Any, fields: Any) -> None: ...

    missing = {"check", "prepare", "traits", "facts", "files", "open", "folders", "written", "tokenizer"}
    assert set(lacking(DataKind, Half())) == missing
    assert list(lacking(Algorithm, Half())) == ["states", "backends"]


@pytest.mark.parametrize("section", BY_SECTION)
def test_an_unknown_name_is_refused_with_the_names(section: str, capfd: pytest.CaptureFixture[str]) -> None:
    registry = BY_SECTION[section]
    assert main(["plan", f"{registry.path}=nothing"]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert registry.path in line and all(repr(name) in line for name in registry.names())
    with refused(registry.path, use=registry.names()):
        registry.part("nothing", "config")


CHIPS = {
    "chips-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: chips\nVersion: 1\n",
    "chips-1.dist-info/entry_points.txt": "[slipway.data_kinds]\nchips = chips\n",
    "chips/__init__.py": "",
    "chips/config.py": """
from typing import Literal
from slipway.config.section import DataSection, Folder

class Config(DataSection):
    kind: Literal["chips"] = "chips"
    dir: Folder
""",
    "chips/kind.py": """
from slipway.data.progress import show_progress

class Chips:
    def prepare(self, config, progress):
        with show_progress(progress, 10, ("chips",)) as shown:
            shown.phase("cutting")
            shown.advance(10, {"chips": 2}, fresh=True)
        return f"{config.data.dir}: 2 chips of {', '.join(config.data.sources)}"

    def folders(self, config):
        return {"data.dir": config.data.dir}

KIND = Chips()
""",
    "conf/data/chips.yaml": "kind: chips\nname: chips\ndir: tiles\nsources: {north: {weight: 1}}\nreaders: 1\n",
}


def test_a_package_of_another_folder_is_found(tmp_path: Path) -> None:
    """Without installation: a folder on PYTHONPATH with a .dist-info. `slipway data` prepares what it does not know."""
    for name, text in CHIPS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def call(verb: str, *overrides: str) -> subprocess.CompletedProcess[str]:
        words = [verb, "--config-dir", str(tmp_path / "conf"), "data=chips", *overrides]
        command = [sys.executable, "-m", "slipway", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )

    done = call("data")
    assert (done.returncode, done.stdout) == (0, "tiles: 2 chips of north\n"), done.stderr
    assert "2 chips" in done.stderr
    misspelt = call("data", "data.dirr=x")
    assert misspelt.returncode == 2 and "data.dir" in misspelt.stderr
    other = call("plan")
    assert other.returncode == 2
    [line] = other.stderr.splitlines()
    assert "data.kind" in line and "chips" in line and "model.family=gpt" in line
