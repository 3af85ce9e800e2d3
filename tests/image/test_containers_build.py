"""The image as built: from a clean clone, from wheels without network, twice the same, and what is in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import breadth
from container_tools import ROOT, Image, good, run, slipway
from slipway import __version__

pytestmark = [pytest.mark.image, pytest.mark.timeout(1500)]

# Every file of the image: path, kind, mode and content; the kernel's own file systems are left out.
LISTING = """
import hashlib, os, stat
for folder, folders, files in os.walk('/'):
    folders[:] = sorted(f for f in folders if os.path.join(folder, f) not in ('/proc', '/sys', '/dev', '/run'))
    for name in sorted(files):
        path = os.path.join(folder, name)
        found = os.lstat(path)
        content = os.readlink(path) if stat.S_ISLNK(found.st_mode) else ''
        if stat.S_ISREG(found.st_mode) and not path.startswith('/etc/'):
            content = hashlib.file_digest(open(path, 'rb'), 'sha256').hexdigest()
        print(path, oct(found.st_mode), content)
"""
PACKAGES = (
    "from importlib.metadata import distributions as d; print(sorted((p.name, p.version) for p in d()))"
)


def inside(tag: str, *words: str) -> str:
    return good(run(["podman", "run", "--rm", "--user", "0", "--network", "none", tag, *words], timeout=120))


def test_from_a_clean_clone(image: Image, clone: Path) -> None:
    found = json.loads(good(run(["podman", "image", "inspect", image.tag])))[0]
    assert f"sha256:{found['Id']}" == image.digest
    config = found["Config"]
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"][0].endswith("dumb-init") and config["Cmd"] == ["slipway", "--help"]
    head = good(run(["git", "-C", str(clone), "rev-parse", "HEAD"])).strip()
    assert config["Labels"]["org.opencontainers.image.revision"] == head
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert "torch==2.13.0+cpu,megatron-core==0.16.1" in config["Labels"]["org.slipway.pins"]
    assert inside(image.tag, "stat", "-c", "%A %U", "/tmp").strip() == "drwxrwxrwt root"  # as in the base
    assert found["Size"] < 2.0e9, f"{found['Size'] / 1e9:.2f} GB"
    print(f"{found['Size'] / 1e9:.2f} GB, {image.digest}")


def test_inspect_says_the_same_of_archive_record_and_engine(image: Image, work: Path) -> None:
    for target in (image.archive, image.record):
        shown = json.loads(good(slipway("image", "inspect", str(target), "--json", cwd=work)))
        assert shown["digest"] == image.digest


def test_the_smoke_test_passes_read_only(image: Image, work: Path) -> None:
    done = slipway("image", "test", image.tag, cwd=work)
    good(done)
    assert "ok    collective: gloo over 4 ranks" in done.stderr and "ok    all, in" in done.stderr
    print(done.stderr)


@pytest.fixture(scope="session")
def wheelhouse(work: Path, clone: Path) -> Path:
    """Every locked package of the cpu variant, as docs/image.md says to collect them."""
    folder = work / "wheelhouse"
    lock = clone / "containers" / "lock"
    files = [lock / name for name in ("image-build.txt", "image-cpu.txt", "torch-cpu.txt")]
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--require-hashes",
        "-d",
        str(folder),
    ]
    good(run([*words, *(word for file in files for word in ("-r", str(file)))], timeout=600))
    return folder


@pytest.mark.skipif(not breadth.ALL, reason="four minutes: `make test-nightly`")
def test_from_wheels_without_network_it_is_the_same_image(
    image: Image, clone: Path, work: Path, wheelhouse: Path
) -> None:
    words = ["image", "build", "--context", str(clone), "--tag", "slipway-test:offline", "--no-archive"]
    done = slipway(*words, "--offline", "--no-cache", "--wheels", str(wheelhouse), cwd=work, timeout=900)
    good(done)
    assert "--network none" in done.stderr
    tags = [image.tag, "localhost/slipway-test:offline"]
    packages = {inside(tag, "python", "-c", PACKAGES) for tag in tags}
    assert len(packages) == 1 and "('torch', '2.13.0+cpu')" in packages.pop()
    online, offline = (inside(tag, "python", "-c", LISTING).splitlines() for tag in tags)
    assert len(online) > 10_000
    assert sorted(set(online) ^ set(offline)) == []
    layers = [
        json.loads(good(run(["podman", "image", "inspect", tag])))[0]["RootFS"]["Layers"] for tag in tags
    ]
    print("layers identical to the bit:", layers[0] == layers[1])


def test_without_the_wheels_there_is_no_build_without_network(
    clone: Path, work: Path, tmp_path: Path
) -> None:
    """What the test above proves: nothing came from elsewhere."""
    (tmp_path / "empty-0-py3-none-any.whl").write_bytes(b"")
    words = ["image", "build", "--context", str(clone), "--tag", "slipway-test:never", "--no-archive"]
    done = slipway(*words, "--offline", "--no-cache", "--wheels", str(tmp_path), cwd=work, timeout=300)
    assert done.returncode == 1 and "No matching distribution found" in done.stderr
    assert "Traceback" not in done.stderr


def test_sbom_lists_the_pinned_packages(image: Image, work: Path) -> None:
    good(slipway("image", "sbom", str(image.archive), cwd=work))
    listed = json.loads(image.archive.with_suffix(".cyclonedx.json").read_text())["components"]
    found = {part["name"]: part.get("version") for part in listed}
    assert (found["torch"], found["megatron-core"]) == ("2.13.0+cpu", "0.16.1")
    listed = json.loads(image.archive.with_suffix(".spdx.json").read_text())["packages"]
    assert {"torch", "megatron-core"} <= {part["name"] for part in listed}


@pytest.mark.skipif(not breadth.ALL, reason="`make test-nightly`")
def test_the_benchmark_measures(image: Image, sif: Path, work: Path) -> None:
    words = ["bench", "image", "--tag", image.tag, "--sif", str(sif), "--repeat", "1", "--json"]
    record = json.loads(good(slipway(*words, "--context", str(ROOT), cwd=work)))
    rows = {row["what"]: row for row in record["rows"]}
    print(json.dumps(record["rows"], indent=1), record["summary"])
    assert 0.5 < rows["image size, GB"]["median"] < 1.7
    slack = 1 if os.getloadavg()[0] < 2 * (os.cpu_count() or 1) else 5  # a busy machine proves little
    assert rows["cached rebuild after a change of the source, s"]["median"] < 15 * slack
    assert rows["apptainer exec ... slipway --help, s"]["median"] < 1 * slack


def test_a_dry_run_runs_nothing(clone: Path, work: Path) -> None:
    before = subprocess.run(["podman", "images", "-aq"], capture_output=True).stdout
    done = slipway("image", "build", "--context", str(clone), "--dir", "dry", "--dry-run", cwd=work)
    good(done)
    assert done.stderr.startswith("+ podman build ") and "+ podman save " in done.stderr
    assert subprocess.run(["podman", "images", "-aq"], capture_output=True).stdout == before
    assert not (work / "dry").exists()
