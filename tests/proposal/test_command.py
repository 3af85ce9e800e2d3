import json
import re
from pathlib import Path

import pytest

from refusals import check_line
from scaling import MINUTES, WORDS, written
from slipway import cli

RUN = [
    *WORDS,
    "data=files",
    "data.sources.files.inputs=[texts/]",
    "training.global_batch_size=256",
    "training.steps=100000",
]
SIXTEEN = [*RUN, "resources.nodes=4"]
HOURS = 100_000 * MINUTES[16] * 16 / 3600  # the fixture's minutes stand for a step's seconds


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a measurement."""
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def proposal(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints, which must succeed."""
    code = cli.main(["proposal", "--scaling", "bench-scaling.json", "--out", "out", *words])
    said = capfd.readouterr()
    assert code == 0, said.err
    return said.out


def test_a_proposal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    printed = proposal(capfd, *SIXTEEN)
    text = (folder / "out" / "proposal.md").read_text()
    for word in (
        f"{HOURS:,.0f} device-hours",
        f"{HOURS:,.0f} GPU-hours fall into Playground Access",
        "16 NVIDIA-A100-SXM4-40GB (nodes 4 × devices 4)",
        "125,262,336",
        "125,262,336 parameters × 14 bytes = 1.633 GiB",
        "from 1 to 64 devices the speed-up is 28.7 of 64, an efficiency of 45%",
        "![Scaling of gpt3",
        "(scaling.png)",
    ):
        assert word in text.replace("\\", ""), word
    (last,) = (line.split(" | ") for line in text.splitlines() if line.startswith("| 64 | "))
    assert last[5:7] == ["28.73", "45%"]

    # gaps: marked in the text, listed at its end, and told
    marked = re.findall(r"\*\*\[TO FILL IN (\d+): ", text)
    assert marked == [str(n) for n in range(1, len(marked) + 1)] and len(marked) >= 8
    told = re.findall(r"^missing +(\d+)\. (\w+): ", printed, re.MULTILINE)
    assert [number for number, _ in told] == marked
    listed = text.partition("## Still to be filled in")[2]
    assert all(f"| {number} | {name.replace('_', chr(92) + '_')} |" in listed for number, name in told)

    pdf = (folder / "out" / "proposal.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", pdf)) >= 3 and b"/Subtype /Image" in pdf
    assert (folder / "out" / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_answers_fill_gaps_and_runs_change_the_access_mode(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "answers.yaml").write_text("title: Sea ice\npurpose: 'Forecasts: of ice'\n")
    printed = proposal(capfd, "--answers", "answers.yaml", "--runs", "3", "--reserve", "20", *SIXTEEN)
    text = (folder / "out" / "proposal.md").read_text()
    assert "Sea ice" in text and "Forecasts: of ice" in text
    names = re.findall(r"^missing +\d+\. (\w+): ", printed, re.MULTILINE)
    assert "applicant" in names and not {"title", "purpose", "runs"} & set(names)
    assert 5000 < 3.6 * HOURS < 50_000
    assert f"{3.6 * HOURS:,.0f} GPU-hours fall into Fast Lane Access" in text


def test_another_machine_is_said_and_asked_for(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "scaling_there" in proposal(capfd, *SIXTEEN, "cluster=jupiter_booster")
    text = (folder / "out" / "proposal.md").read_text().replace("\\", "")
    assert "made on up to 64 devices of juwels_booster" in text and "devices of jupiter_booster" in text


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["--scaling", "absent.json"], "absent.json", []),
        (["--scaling", "empty.json"], "empty.json", ["0 sizes"]),
        (["--runs", "0"], "proposal --runs", [0, 1]),
        (["--reserve", "101"], "proposal --reserve", [101]),
        (["--answers", "absent.yaml"], "absent.yaml", []),
        (["--answers", "list.yaml"], "list.yaml", []),
        (["--answers", "unknown.yaml"], "unknown.yaml", ["nobody", "title"]),
        (["model=llama3_8b", "parallelism=single"], "proposal", ["40 GiB"]),
        (["cluster=local", "resources.nodes=1"], "proposal", ["local"]),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    words: list[str], path: str, facts: list[object], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((folder / "bench-scaling.json").read_text())
    (folder / "empty.json").write_text(json.dumps(record | {"rows": []}))
    (folder / "list.yaml").write_text("- a\n")
    (folder / "unknown.yaml").write_text("nobody: knows\n")
    before = sorted(folder.iterdir())
    given = ["--scaling", "bench-scaling.json", "--out", "mistaken", *SIXTEEN, *words]
    assert cli.main(["proposal", *given]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    check_line(said.err, path, *facts)
    assert sorted(folder.iterdir()) == before
