"""The cuda variant on a stub of its base: Python 3.12 with a torch in name only, and a compiler.

What is real: every stage, the locks, the wheels for Python 3.12, Megatron-core's helper compiled from its source,
the selection of apex's extensions and their way into the image. What is not: NVIDIA's compiler, torch, a GPU.
"""

import json
import shutil
from pathlib import Path

import pytest

import breadth
from container_tools import ROOT, good, run, slipway

pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not breadth.ALL, reason="two minutes: `make test-nightly`"),
]

STUB = Path(__file__).parent / "stub"
BASE = "docker.io/library/python:3.11-slim-bookworm"
LOAD = """
import importlib.util, pathlib, sysconfig
(path,) = pathlib.Path(sysconfig.get_path("purelib"), "megatron/core/datasets").glob("helpers_cpp*.so")
spec = importlib.util.spec_from_file_location("helpers_cpp", path)
helpers_cpp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers_cpp)
"""
CHECK = f"""{LOAD}
import json, sys, torch
from importlib.metadata import version
import apex_C, amp_C, fused_layer_norm_cuda, fused_weight_gradient_mlp_cuda
print(json.dumps({{
    "python": sys.version_info[:2],
    "torch": [torch.__version__, torch.__file__],
    "apex": version("apex"),
    "amp_C": amp_C.__file__,
    "left out": [n for n in ("syncbn", "mlp_cuda") if importlib.util.find_spec(n)],
    "megatron": version("megatron-core"),
    "helper": hasattr(helpers_cpp, "build_sample_idx_int32"),
    "numpy": version("numpy"),
}}))
"""


@pytest.fixture(scope="session")
def stub(work: Path) -> str:
    """A base as NGC's is, as far as the Dockerfile can tell."""
    found = run([str(ROOT / "containers" / "find-python.sh"), "3.12"])
    if found.returncode:
        pytest.skip("no Python 3.12 on this machine to make the stub of")
    prefix = Path(good(run([found.stdout.strip(), "-c", "import sys; print(sys.base_prefix)"])).strip())
    context = work / "stub"
    shutil.copytree(STUB, context)
    ignored = shutil.ignore_patterns("site-packages", "test", "__pycache__", "*.a")
    shutil.copytree(prefix, context / "python", symlinks=True, ignore=ignored)
    words = ["podman", "build", "--format", "docker", "--network", "host", "--tag", "slipway-test:stub"]
    words += ["--build-arg", f"BASE={BASE}", "--build-arg", f"PREFIX={prefix}", str(context)]
    good(run(words, timeout=600))
    return "localhost/slipway-test:stub"


def test_cuda_on_a_stub_of_its_base(stub: str, clone: Path, work: Path) -> None:
    words = ["image", "build", "--variant", "cuda", "--context", str(clone), "--base", stub, "--no-archive"]
    words += ["--tag", "slipway-test:cuda", "--apex-source", str(STUB / "apex")]
    done = slipway(*words, cwd=work, timeout=900)
    good(done)
    said = done.stdout + done.stderr
    assert "apex: building amp_C, apex_C, fused_layer_norm_cuda, fused_weight_gradient_mlp_cuda" in said
    assert "leaving out mlp_cuda, syncbn" in said
    start = ["podman", "run", "--rm", "--read-only", "--network", "none", "slipway-test:cuda"]
    found = json.loads(good(run([*start, "python", "-c", CHECK])).splitlines()[-1])
    assert found["python"] == [3, 12]
    assert found["torch"][0] == "2.13.0a0+stub" and not found["torch"][1].startswith("/opt/slipway")
    assert found["megatron"] == "0.19.2" and found["apex"] == "0.1" and found["left out"] == []
    assert found["amp_C"].startswith("/opt/slipway/") and found["helper"]
    assert found["numpy"] == "2.4.6"  # which the base's PIP_CONSTRAINT forbids
    shown = good(run([*start, "sh", "-c", "echo $PIP_CONSTRAINT; echo $LD_LIBRARY_PATH"])).splitlines()
    assert shown == ["", "/usr/local/cuda/compat/lib:/usr/local/cuda/lib64"]
    assert "usage: slipway VERB" in good(run(start))


def test_a_base_that_has_apex_keeps_its_own(stub: str, clone: Path, work: Path) -> None:
    """And rocm takes none: the apex stage alone says so."""
    for variant, said in (("cuda", "apex: the base has it"), ("rocm", "apex: not for rocm")):
        base = stub
        if variant == "cuda":
            containing = f"FROM {stub}\nRUN python3 /stub/give_apex.py\n"
            (work / "with-apex").write_text(containing)
            good(
                run(
                    [
                        "podman",
                        "build",
                        "--tag",
                        "slipway-test:with-apex",
                        "-f",
                        str(work / "with-apex"),
                        str(STUB),
                    ]
                )
            )
            base = "localhost/slipway-test:with-apex"
        words = ["podman", "build", "--format", "docker", "--target", "apex", "--network", "none"]
        words += ["--build-arg", f"VARIANT={variant}", "--build-arg", f"BASE_IMAGE={base}", str(clone)]
        done = run(words, timeout=300)
        assert said in good(done) + done.stderr


def test_the_megatron_helper_is_compiled_where_a_wheel_has_none(stub: str, work: Path) -> None:
    """The build's own script on the image made above, with the helper taken away."""
    script = """
        set -e
        rm /opt/slipway/lib/python3.12/site-packages/megatron/core/datasets/helpers_cpp*.so
        bash /opt/slipway/share/build/tools.sh /tmp/tools
        bash /opt/slipway/share/build/megatron-helper.sh /opt/slipway/bin/python /tmp/tools/bin/python
        python -c "$1"
    """
    load = f"{LOAD}\nprint(hasattr(helpers_cpp, 'build_sample_idx_int32'))"
    words = [
        "podman",
        "run",
        "--rm",
        "--user",
        "0",
        "--network",
        "host",
        "slipway-test:cuda",
        "bash",
        "-c",
        script,
        "sh",
        load,
    ]
    assert good(run(words, timeout=300)).splitlines() == ["compiling Megatron-core's data helper", "True"]
