"""Optional packages that are missing, broken or of another maker: each is a line, none is an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from slipway.kernels import probe
own = {"apex": probe.probe_apex, "triton": probe.probe_triton}.get(sys.argv[1])
found = own() if own else probe.probe(sys.argv[1], sys.argv[2:])
try:
    __import__(sys.argv[1])
    later = "imported"
except ImportError:
    later = "ImportError"
print(json.dumps({"trouble": found.trouble, "version": found.version, "later": later}))
"""

ABI = "lib.so: undefined symbol: _ZN3c104cuda9SetDeviceEi"
PACKAGES = {
    "works": {"__init__.py": "", "pytorch.py": ""},
    "abi": {"__init__.py": "", "pytorch.py": f"raise ImportError('{ABI}')"},
    "library": {"__init__.py": "raise OSError('libcudart.so.13: cannot open shared object file')"},
    "strange": {"__init__.py": "raise RuntimeError('a\\nb')"},
}


def found(tmp_path: Path, name: str, files: dict[str, str] | None, *modules: str, **environment: str) -> dict:
    """What a fresh interpreter says of a package of these files."""
    for path, text in (files or {}).items():
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, *modules],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [
        ("works", None),
        ("abi", f"installed, but cannot be loaded: ImportError: {ABI}"),
        (
            "library",
            "installed, but cannot be loaded: OSError: libcudart.so.13: cannot open shared object file",
        ),
        ("strange", "installed, but cannot be loaded: RuntimeError: a b"),
    ],
)
def test_a_package(tmp_path: Path, kind: str, trouble: str | None) -> None:
    said = found(tmp_path, "some_engine", PACKAGES[kind], "some_engine", "some_engine.pytorch")
    assert said["trouble"] == trouble
    assert said["later"] == ("imported" if trouble is None else "ImportError")


def test_a_package_that_is_not_there(tmp_path: Path) -> None:
    said = found(tmp_path, "some_engine", None, "some_engine")
    assert (said["trouble"], said["later"]) == ("not installed", "ImportError")


def test_the_registrys_apex_is_refused_and_hidden(tmp_path: Path) -> None:
    said = found(tmp_path, "apex", {"__init__.py": "", "lib/libapex.py": ""})
    assert "not NVIDIA's" in said["trouble"]
    assert said["later"] == "ImportError"


def test_an_apex_of_nvidias_shape_is_taken(tmp_path: Path) -> None:
    files = {"__init__.py": "", "normalization/__init__.py": "", "optimizers/__init__.py": ""}
    assert found(tmp_path, "apex", files)["trouble"] is None


@pytest.mark.parametrize(
    ("init", "environment", "trouble"),
    [
        ("", {"CC": "cc", "TRITON_INTERPRET": "0"}, None),
        ("", {"CC": "cc", "TRITON_INTERPRET": "1"}, "TRITON_INTERPRET"),
        ("", {"CC": "", "PATH": "/nonexistent"}, "C compiler"),
        ("raise OSError('libtriton.so')", {"CC": "cc"}, "libtriton.so"),
    ],
)
def test_triton_and_what_it_needs(
    tmp_path: Path, init: str, environment: dict[str, str], trouble: str | None
) -> None:
    said = found(tmp_path, "triton", {"__init__.py": init}, **environment)
    assert said["trouble"] is None if trouble is None else trouble in said["trouble"]
    assert said["later"] == ("ImportError" if init else "imported")


@pytest.mark.slow  # it imports Megatron-core twice, and is about its versions
def test_megatron_takes_a_broken_package_for_a_missing_one(tmp_path: Path) -> None:
    """Its own import would end with the OSError: it expects ImportError only."""
    (tmp_path / "transformer_engine").mkdir()
    (tmp_path / "transformer_engine" / "__init__.py").write_text("raise OSError('libcudart.so.13')")
    program = "import megatron.core.optimizer"
    hide = "from slipway.kernels import probe; probe.probe('transformer_engine', ['transformer_engine.pytorch']);"
    codes = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", text], cwd=tmp_path, capture_output=True, timeout=120
        ).returncode
        for text in (hide + program, program)
    ]
    assert codes == [0, 1]
