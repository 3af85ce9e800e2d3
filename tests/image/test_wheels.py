"""containers/wheels.py: what goes into the folder for a machine that has its own torch, and what pip is told of it.

`make test-wheels-gpu` fills a real folder, installs it without a network, and trains.
"""

import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

CONTAINERS = Path(__file__).resolve().parents[2] / "containers"


@pytest.fixture(scope="module")
def wheels() -> ModuleType:
    sys.path.insert(0, str(CONTAINERS))  # where it finds lock.py
    try:
        spec = importlib.util.spec_from_file_location("wheels", CONTAINERS / "wheels.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(CONTAINERS))
    return module


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("python", "megatron"), [("3.11", "0.16.1"), ("3.12", "0.19.2")])
def test_what_is_needed(wheels: ModuleType, python: str, megatron: str, machine: str) -> None:
    found = dict(wheels.lock.pin(block) for block in wheels.needed(python, machine))
    assert found["megatron-core"] == megatron
    direct = {"numpy", "pydantic", "hydra-core", "tokenizers", "matplotlib", "nvidia-ml-py"}
    indirect = {"antlr4-python3-runtime", "pydantic-core", "typing-extensions", "pillow", "markupsafe"}
    assert direct | indirect <= found.keys()
    of_torch = {"torch", "triton", "sympy", "networkx", "nvidia-cublas"}
    optional = {"pyarrow", "zstandard", "wandb", "tensorboard", "grpcio"}
    of_the_hub = {"huggingface-hub", "hf-xet", "httpx2", "tqdm"}
    assert not found.keys() & (of_torch | optional | of_the_hub | {"pytest", "ruff", "uv"})
    assert all("--hash=sha256:" in block for block in wheels.needed(python, machine))


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")


def test_own_pins_hold_and_the_rest_stays_where_it_satisfies_all(wheels: ModuleType, tmp_path: Path) -> None:
    wheel(tmp_path, "slipway", "0.1", "torch==9", "hydra_core==1.3", "numpy==2.4", 'wandb==1; extra == "m"')
    wheel(tmp_path, "hydra_core", "1.3", "antlr==4.9.*", "Pillow>=9", 'other; python_version < "3.11"')
    wheel(tmp_path, "antlr", "4.9.3", "numpy", "pillow<14", 'numpy>=1.25; platform_machine == "x86_64"')
    wheel(tmp_path, "numpy", "2.4")
    wheel(tmp_path, "pillow", "13.0")
    wheel(tmp_path, "other", "1.0")
    assert wheels.requirements(tmp_path, "3.12", "x86_64") == [
        "antlr==4.9.*",
        "hydra-core==1.3",
        "numpy>=1.25",
        "other",
        "pillow<14,>=9",
        "slipway==0.1",
    ]
    assert "numpy" in wheels.requirements(tmp_path, "3.12", "aarch64")


def test_a_folder_of_something_else_is_left_alone(
    wheels: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text("x")
    monkeypatch.setattr(sys, "argv", ["wheels.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=str(tmp_path)):
        wheels.main()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
