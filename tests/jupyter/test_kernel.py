"""The two files of a kernel: what Jupyter reads of one, and how the other calls the container's runtime."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

import jupyter_standin as standin
from slipway.clusters.profiles import Profiles
from slipway.config.cluster import Container
from slipway.jupyter.kernel import COMMAND, SCRIPT, SPEC, Kernel, script, spec

SHELLCHECK = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
HOSTILE = ["a b", "it's", 'say "no"', "$(touch broken)", "`touch broken`", "; touch broken", "*", "\\", "ü"]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    folder = tmp_path / "kernels" / "mine"
    folder.mkdir(parents=True)
    return Kernel("mine", "Mine", folder, standin.sif(tmp_path / "image.sif"), Container())


def start(kernel: Kernel, here: Path, connection: str = "", **environment: str) -> dict:
    path = kernel.folder / SCRIPT
    path.write_text(script(kernel))
    (here / "runtime").mkdir(exist_ok=True)
    connection = connection or str(here / "runtime" / "kernel-1.json")
    return standin.started(path, connection, here, kernel.container.runtime, **environment)


def binds(words: list[str]) -> list[str]:
    return [word for before, word in zip(words, words[1:], strict=False) if before == "--bind"]


def test_jupyter_reads_the_spec(kernel: Kernel) -> None:
    (kernel.folder / SPEC).write_text(spec(kernel), encoding="utf-8")
    specs = KernelSpecManager(kernel_dirs=[str(kernel.folder.parent)], ensure_native_kernel=False)
    manager = KernelManager(
        kernel_name="mine", kernel_spec_manager=specs, connection_file="/run/kernel-1.json"
    )
    assert manager.kernel_spec is not None
    assert (manager.kernel_spec.display_name, manager.kernel_spec.language) == ("Mine", "python")
    assert manager.kernel_spec.interrupt_mode == "message"
    assert manager.format_kernel_cmd() == ["bash", str(kernel.folder / SCRIPT), "/run/kernel-1.json"]


def test_the_kernel_is_started_in_the_image(kernel: Kernel, tmp_path: Path) -> None:
    words = start(kernel, tmp_path)["words"]
    assert words[:3] == ["exec", "--cleanenv", "--no-home"]
    runtime = tmp_path / "runtime"
    assert words[words.index(str(kernel.image)) + 1 :] == [
        *("env", f"IPYTHONDIR={runtime}/slipway-ipython"),
        *(*COMMAND, f"{runtime}/kernel-1.json"),
    ]
    assert words[words.index("--pwd") + 1] == str(tmp_path)
    assert binds(words) == [str(runtime), str(tmp_path)]


def test_a_folder_is_bound_once(kernel: Kernel, tmp_path: Path) -> None:
    beside = tmp_path.with_name(f"{tmp_path.name}-beside")
    words = start(replace(kernel, binds=(str(tmp_path), f"{tmp_path}:/runs:ro")), tmp_path)["words"]
    assert binds(words) == [str(tmp_path), f"{tmp_path}:/runs:ro"]
    beside.mkdir()
    words = start(replace(kernel, binds=(str(tmp_path),)), beside)["words"]
    assert binds(words) == [str(tmp_path), str(beside / "runtime"), str(beside)]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_the_quoting(name: str, kernel: Kernel, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    image = standin.sif(folder / f"{name}.sif")
    hostile = replace(
        kernel, image=image, binds=(f"{folder}:/runs:ro",), environment={"VALUE": name}, display_name=name
    )
    called = start(hostile, folder)
    assert str(image) in called["words"]
    assert binds(called["words"]) == [f"{folder}:/runs:ro", str(folder / "runtime"), str(folder)]
    assert f"VALUE={name}" in called["words"]
    assert not list(tmp_path.rglob("broken")) and not list(Path().glob("broken"))


@pytest.mark.parametrize("runtime", ["apptainer", "singularity"])
def test_nothing_of_the_server_takes_part_but_its_devices(
    runtime: str, kernel: Kernel, tmp_path: Path
) -> None:
    kernel = replace(kernel, container=Container(runtime=runtime))  # type: ignore[arg-type]
    host = {
        "APPTAINER_BIND": "/host",
        "APPTAINER_CONTAIN": "1",
        "APPTAINERENV_LD_PRELOAD": "/host.so",
        "SINGULARITYENV_PYTHONPATH": "/host",
        "SINGULARITY_NV": "1",
        "APPTAINER_CACHEDIR": "/cache",
        "CUDA_VISIBLE_DEVICES": "2 ,3",
        "SLURM_JOB_ID": "7",
    }
    called = start(kernel, tmp_path, **host)
    words = called["words"]
    given = words[words.index("env") + 2 : words.index(COMMAND[0])]
    assert given == ["CUDA_VISIBLE_DEVICES=2 ,3", "SLURM_JOB_ID=7"]
    orders = {name for name in called["environment"] if name.startswith(("APPTAINER", "SINGULARITY"))}
    assert orders == {"APPTAINER_CACHEDIR"}


def test_a_folder_that_is_absent_there_is_reported_and_left_out(kernel: Kernel, tmp_path: Path) -> None:
    called = start(replace(kernel, binds=("/absent:/runs",)), tmp_path)
    assert "/absent:/runs" not in called["words"]
    assert "/absent" in called["said"]


def test_a_folder_of_connection_files_that_cannot_be_bound(kernel: Kernel, tmp_path: Path) -> None:
    path = kernel.folder / SCRIPT
    path.write_text(script(kernel))
    done = standin.run(path, "/run/a:b/kernel-1.json", tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "/run/a:b" in line


@pytest.mark.parametrize(
    ("options", "gpu", "expected"),
    [
        ([], None, []),
        ([], "nvidia", ["--nv"]),
        ([], "amd", ["--rocm"]),
        (["--nv"], "nvidia", ["--nv"]),
        (["--rocm", "--comment=a b"], None, ["--rocm", "--comment=a b"]),
    ],
)
def test_gpus_by_the_profile_or_by_option(
    options: list[str], gpu: str | None, expected: list[str], kernel: Kernel, tmp_path: Path
) -> None:
    asked = replace(kernel, container=Container(options=options), gpu=gpu)
    words = start(asked, tmp_path)["words"]
    assert words[3 : words.index("--bind")] == expected


def test_modules_are_loaded_and_the_profiles_variables_set(kernel: Kernel, tmp_path: Path) -> None:
    profile = Container(modules=["Apptainer/1.2"])
    kernel = replace(kernel, container=profile, environment={"UCX_TLS": "self"})
    module = {"BASH_FUNC_module%%": '() { echo "$@" >&2; }'}
    called = start(kernel, tmp_path, **module)
    assert called["said"] == "load Apptainer/1.2\n"
    assert "UCX_TLS=self" in called["words"]


@pytest.mark.parametrize("cluster", ["lumi_g", "meluxina_gpu"])
def test_shellcheck_and_bash_find_nothing(cluster: str, kernel: Kernel) -> None:
    profile = Profiles().load(cluster)
    path = kernel.folder / SCRIPT
    path.write_text(script(replace(kernel, container=profile.container, environment=profile.environment)))
    for command in (["bash", "-n"], [SHELLCHECK]):
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
