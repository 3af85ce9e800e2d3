"""What Apptainer is told through spython is what is printed; the definition has what it is told about."""

import re
from pathlib import Path

import pytest

from refusals import refused
from slipway.errors import Fault
from slipway.image import shell, sif

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = sif.Origin("docker-archive", "dist/a.tar", f"sha256:{'1' * 64}")


def test_options() -> None:
    assert sif.options(ORIGIN, gzip=True) == [
        *("--force", "--notest"),
        *("--build-arg", "bootstrap=docker-archive", "--build-arg", "from=dist/a.tar"),
        *("--build-arg", f"digest={ORIGIN.digest}"),
    ]
    assert sif.options(ORIGIN, gzip=False)[-2:] == ["--mksquashfs-args", "-comp zstd -Xcompression-level 3"]


def test_the_definition_takes_each_argument_and_needs_no_other() -> None:
    definition = (ROOT / "apptainer.def").read_text()
    given = {word.partition("=")[0] for word in sif.options(ORIGIN, True) if "=" in word}
    assert set(re.findall(r"{{ (\w+) }}", definition)) == given
    declared = definition.partition("%arguments")[2].partition("%environment")[0]
    assert set(re.findall(r"(?m)^    (\w+)=", declared)) == given
    for section in ("environment", "runscript", "test", "labels"):
        assert re.search(rf"(?m)^%{section}$", definition)
    assert sif.DIGEST_LABEL in definition and "/opt/slipway/etc/env.sh" in definition


@pytest.mark.parametrize("works", [True, False])
def test_spython_runs_what_is_printed(
    works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spython.main import Client

    ran: list[list[str]] = []

    def run(command: list[str], **more: object) -> dict[str, object]:
        ran.append(command)
        if works:
            Path(command[-2]).write_text("a SIF")
        return {"return_code": int(not works), "message": []}

    monkeypatch.setattr(shell, "need", lambda *words: None)
    monkeypatch.setattr(type(Client), "_run_command", lambda self, command, **more: run(command, **more))
    target = tmp_path / "a.sif"
    if works:
        sif.build(Path("apptainer.def"), target, sif.options(ORIGIN, False), dry_run=False)
        assert target.read_text() == "a SIF"
    else:
        with refused("`singularity build ...`", kind=Fault):
            sif.build(Path("apptainer.def"), target, sif.options(ORIGIN, False), dry_run=False)
        assert not target.exists()
    assert capsys.readouterr().err == f"{shell.text(ran[0])}\n"
