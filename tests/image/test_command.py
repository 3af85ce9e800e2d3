"""`slipway image`: what it prints, in a dry run and where something is missing."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from refusals import refused
from slipway.cli import main
from slipway.image import shell
from slipway.verbs.unconfigured import IMAGE

ROOT = Path(__file__).resolve().parents[2]


def image(*words: str, path: str | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    given = {"PATH": path if path is not None else "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-m", "slipway", "image", *words], cwd=cwd, env=given, capture_output=True, text=True
    )


def test_help_names_every_action_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image"]) == 0
    text = capsys.readouterr().out
    assert all(f"slipway image {action} " in text for action in IMAGE.actions)
    assert max(map(len, text.splitlines())) <= 115


def test_a_dry_run_prints_and_needs_no_program(tmp_path: Path) -> None:
    done = image("build", "--dry-run", "--variant", "rocm", "--dir", str(tmp_path / "out"), path="")
    assert (done.returncode, done.stdout) == (0, "")
    build, save = done.stderr.splitlines()
    words = shlex.split(build)
    assert words[:5] == ["+", "podman", "build", "--format", "docker"]
    assert "VARIANT=rocm" in words and words[-1] == str(ROOT)
    assert (
        save == f"+ podman save --format docker-archive --output {tmp_path}/out/slipway-rocm.tar slipway:rocm"
    )
    digest = f"sha256:{'1' * 64}"
    done = image("sif", "--dry-run", f"docker://example.org/slipway@{digest}", "--gzip", path="")
    assert done.stderr == (
        "+ singularity build --force --notest --build-arg bootstrap=docker --build-arg "
        f"from=example.org/slipway@{digest} --build-arg digest={digest} dist/image/slipway-cpu.sif "
        f"{ROOT}/apptainer.def\n"
    )
    for words, start in (
        (
            ["test", "slipway:cpu"],
            "+ podman run --rm --read-only --tmpfs /tmp:rw,exec,size=2g --network none slipway",
        ),
        (["test", "a.sif", "--gpu", "nvidia"], "+ apptainer test --containall --no-home --nv a.sif"),
        (["sbom", "a.tar"], "+ syft scan docker-archive:a.tar"),
        (["sign", "a.sif", "--key", "k.pem"], "+ apptainer sign --key k.pem a.sif"),
        (["verify", "a.sif"], "+ apptainer verify --all a.sif"),
    ):
        done = image(*words, "--dry-run", path="")
        assert done.returncode == 0 and done.stderr.startswith(start), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["build"], "slipway: image: neither podman nor docker is on this machine: install one of them"),
        (["sif"], "apptainer is not on this machine: install Apptainer"),
        (["test", "here.sif"], "apptainer is not on this machine: install Apptainer"),
        (["test", "slipway:cpu"], "neither podman nor docker"),
        (["sign", "here.sif"], "apptainer is not on this machine"),
        (["verify", "here.sif"], "apptainer is not on this machine"),
    ],
)
def test_what_is_missing_is_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    (tmp_path / "here.sif").touch()
    context = ["--context", str(ROOT)] if words[0] in ("build", "sif") else []
    done = image(*words, *context, path=str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr and len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["here.sif"]


def test_syft_is_found_beside_python_and_missed_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    with refused("image sbom", use="'slipway[image]'"):
        shell.of_python("syft", "sbom")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "syft").touch()
    assert shell.of_python("syft", "sbom") == str(tmp_path / "bin" / "syft")
