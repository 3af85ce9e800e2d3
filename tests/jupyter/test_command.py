"""`slipway jupyter`: where the kernel is written, and what is left alone."""

import json
from pathlib import Path

import pytest

import jupyter_standin as standin
from refusals import check_line
from slipway.cli import main
from slipway.jupyter.kernel import SCRIPT, SPEC


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, and a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    standin.sif(folder / "slipway.sif")
    monkeypatch.chdir(folder)
    return folder


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def test_private_by_default(tmp_path: Path) -> None:
    assert main(["jupyter", "mine"]) == 0
    folder = tmp_path / "home/.local/share/jupyter/kernels/mine"
    assert {path.name for path in folder.iterdir()} == {SPEC, SCRIPT}
    found = json.loads((folder / SPEC).read_text())
    assert found["argv"][1] == str(folder / SCRIPT)
    assert str(tmp_path / "here/slipway.sif") in (folder / SCRIPT).read_text()


@pytest.mark.parametrize(("name", "below"), [("JUPYTER_DATA_DIR", ""), ("XDG_DATA_HOME", "jupyter")])
def test_where_jupyter_is_told_to_look(
    name: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "data"))
    assert main(["jupyter", "mine"]) == 0
    assert (tmp_path / "data" / below / "kernels/mine" / SPEC).is_file()


def test_for_a_project_and_again(tmp_path: Path) -> None:
    words = ["jupyter", "mine", "--prefix", str(tmp_path / "project/.local")]
    assert main(words) == 0
    folder = tmp_path / "project/.local/share/jupyter/kernels/mine"
    assert json.loads((folder / SPEC).read_text())["display_name"] == "Slipway (mine)"
    assert main([*words, "--display-name", "Ours: ü"]) == 0
    assert json.loads((folder / SPEC).read_text())["display_name"] == "Ours: ü"
    assert len(everything(tmp_path / "project")) == 2


def test_a_dry_run_prints_both_files_and_writes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(tmp_path)
    assert main(["jupyter", "mine", "--dry-run", "--cluster", "meluxina_gpu", "--bind", "."]) == 0
    printed = capsys.readouterr().out
    assert everything(tmp_path) == before
    shown, _, rest = printed.partition(SPEC)
    assert json.loads(rest)["interrupt_mode"] == "message"
    assert "--nv" in shown and f"\nbind {tmp_path / 'here'}\n" in shown and "module load" in shown


@pytest.mark.parametrize("text", ['{"argv": ["python"], "metadata": {}}', "{", "[]"])
def test_the_kernel_of_another_program_stays(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "home/.local/share/jupyter/kernels/mine"
    folder.mkdir(parents=True)
    (folder / SPEC).write_text(text)
    assert main(["jupyter", "mine"]) == 2
    check_line(capsys.readouterr().err, folder / SPEC, "NAME")
    assert (folder / SPEC).read_text() == text and not (folder / SCRIPT).exists()


def test_a_name_for_people_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", " ", "two\nlines"):
        assert main(["jupyter", "mine", "--display-name", text]) == 2
        check_line(capsys.readouterr().err, "jupyter --display-name")
