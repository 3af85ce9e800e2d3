"""Addresses of remotes, folders of wheels, the choice among apex's extensions."""

import subprocess
import sys
from pathlib import Path

import pytest

from refusals import refused
from slipway.image import pins, source, wheels

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://user:token@example.org/group/slipway.git", "https://example.org/group/slipway"),
        ("git@example.org:group/slipway.git", "https://example.org/group/slipway"),
        ("ssh://git@example.org:2222/group/slipway", "https://example.org/group/slipway"),
        ("/home/somebody/slipway", ""),
        ("", ""),
    ],
)
def test_no_token_and_no_folder_gets_into_a_label(remote: str, expected: str) -> None:
    assert source.public(remote) == expected


def test_pips_folder_is_taken_only_with_the_right_torch(tmp_path: Path) -> None:
    version = wheels.torch_version(ROOT)
    assert wheels.with_torch([str(tmp_path), "https://example.org/wheels"], version) is None
    (tmp_path / f"torch-{version}-cp311-cp311-linux_x86_64.whl").touch()
    assert wheels.with_torch(["nowhere", tmp_path.as_uri()], version) == tmp_path
    assert wheels.with_torch([str(tmp_path)], "1.0") is None


def test_a_folder_without_wheels_is_refused(tmp_path: Path) -> None:
    with refused("image build --wheels"):
        wheels.given(tmp_path)


def test_pins_of_variants() -> None:
    assert pins.variant(ROOT, "cpu").versions["torch"].startswith("2.13.0+cpu")
    assert "torch" not in pins.variant(ROOT, "cuda").versions
    with refused("image --variant cud", use="cuda"):
        pins.variant(ROOT, "cud")


def test_of_apex_only_what_is_of_use_is_built(tmp_path: Path) -> None:
    """The real script in the stub's source tree, with setuptools told only to say what it was asked."""
    code = (
        "import runpy, sys, setuptools\n"
        "setuptools.setup = lambda **words: print(sorted(e.name for e in words['ext_modules']))\n"
        f"sys.argv = ['apex_setup.py', '--dist-dir', {str(tmp_path)!r}]\n"
        f"runpy.run_path({str(ROOT / 'containers/stages/apex_setup.py')!r}, run_name='__main__')\n"
    )
    stub = ROOT / "tests" / "image" / "stub"

    def build(**environment: str) -> subprocess.CompletedProcess[str]:
        given = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(stub),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=stub / "apex", env=given, capture_output=True, text=True)

    done = build(APEX_CPP_EXT="1", APEX_CUDA_EXT="1")
    assert "['amp_C', 'apex_C', 'fused_layer_norm_cuda', 'fused_weight_gradient_mlp_cuda']" in done.stdout, (
        done.stderr
    )
    done = build(APEX_CPP_EXT="1")
    assert done.returncode == 1
    assert "apex: this source tree builds no amp_C, fused_layer_norm_cuda" in done.stderr
