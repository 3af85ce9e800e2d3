import json
from pathlib import Path

import pytest

from doctor.looking import looking, plant
from slipway.doctor.checks import versions

GPU = "cluster=local_gpu"
# as the open and the closed kernel module say it
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Mar 5 20:22:35 UTC 2024\nGCC version: gcc\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (builder)\n"


@pytest.mark.parametrize("text", [CLOSED, OPEN])
@pytest.mark.parametrize(
    ("driver", "cuda", "status"),
    [
        ("580.95.05", "13.3", "ok"),
        ("550.54.15", "13.0", "fault"),
        ("550.54.15", "12.8", "ok"),
        ("470.57.02", "12.8", "fault"),
    ],
)
def test_the_driver_against_cuda(tmp_path: Path, text: str, driver: str, cuda: str, status: str) -> None:
    plant(tmp_path / "proc/driver/nvidia/version", text.format(driver))
    found = versions.driver(looking(tmp_path, GPU), {"cuda": cuda})
    assert found.status == status
    assert driver.rpartition(".")[0] in found.saw and cuda in found.expected


def test_compatibility_libraries_help_a_driver_that_is_not_too_old(tmp_path: Path) -> None:
    path = {"LD_LIBRARY_PATH": "/opt/x:/usr/local/cuda/compat/lib.real"}
    for driver, status in (("550.54.15", "ok"), ("470.57.02", "fault")):
        plant(tmp_path / "proc/driver/nvidia/version", CLOSED.format(driver))
        found = versions.driver(looking(tmp_path, GPU, environment=path), {"cuda": "13.0"})
        assert (found.status, "/usr/local/cuda/compat/lib.real" in found.saw) == (status, True)


def test_no_driver(tmp_path: Path) -> None:
    assert versions.driver(looking(tmp_path, GPU), {"cuda": "13.0"}).status == "fault"
    login = looking(tmp_path, "cluster=juwels_booster", job=False)
    assert versions.driver(login, {"cuda": "13.0"}).status == "skipped"
    assert versions.driver(looking(tmp_path), {"cuda": "13.0"}).status == "skipped"  # a profile of CPUs


def test_rocm(tmp_path: Path) -> None:
    here = looking(tmp_path, "cluster=lumi_g")
    found = versions.driver(here, {"hip": "7.2"})
    assert (found.status, found.saw) == ("fault", "amdgpu missing, /dev/kfd missing")
    plant(tmp_path / "sys/module/amdgpu/version", "6.14.14\n")
    plant(tmp_path / "dev/kfd")
    found = versions.driver(here, {"hip": "7.2"})
    assert (found.status, found.saw) == ("ok", "amdgpu 6.14.14, /dev/kfd present")


def test_what_torch_was_built_with_is_read_and_not_imported(tmp_path: Path) -> None:
    plant(
        tmp_path / "version.py",
        "__version__ = '2.9'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n",
    )
    assert versions.torch_toolkits(tmp_path) == {"cuda": "13.0"}
    plant(tmp_path / "version.py", "cuda = None\nhip: Optional[str] = '7.2.26015'\n")
    assert versions.torch_toolkits(tmp_path) == {"hip": "7.2.26015"}
    assert versions.torch_toolkits(tmp_path / "gone") == {}


def test_a_cpu_image_on_gpus(tmp_path: Path) -> None:
    plant(tmp_path / "opt/slipway/etc/env.sh")
    labels = {"org.slipway.variant": "cpu", "org.slipway.image.digest": "sha256:0123456789abcdef"}
    plant(tmp_path / ".singularity.d/labels.json", json.dumps(labels))
    found = versions.image(looking(tmp_path, GPU))
    assert (found.status, found.saw) == ("fault", "variant cpu sha256:0123456789ab")
    assert versions.image(looking(tmp_path)).status == "ok"
    assert versions.facts(looking(tmp_path))["image"] == "sha256:0123456789abcdef"
    assert versions.image(looking(tmp_path / "elsewhere")).status == "skipped"
