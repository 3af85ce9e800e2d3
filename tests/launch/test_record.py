"""launch.json: written whole, newest last, bounded, and refused in one line where it is damaged."""

from pathlib import Path

import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.launch import record
from slipway.launch.record import Submission
from slipway.run_dir import RunDir


def submission(number: int) -> Submission:
    return Submission(
        scheduler="slurm",
        cluster="slurm",
        submitted=1700000000.0 + number,
        id=str(number),
        image="slipway.sif",
        command=["sbatch", "--parsable", "job.sh"],
    )


def test_newest_last_and_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    assert record.read(folder) is None
    for number in range(1, record.KEPT + 4):
        record.add(folder, submission(number))
    found = record.read(folder)
    assert found is not None
    assert [one.id for one in found.submissions] == [str(n) for n in range(4, record.KEPT + 4)]
    assert [path.name for path in folder.iterdir()] == [RunDir(folder).submissions.name]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"submissions": []}', '{"submissions": [{"id": "1"}]}'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    RunDir(tmp_path).submissions.write_text(text)
    with refused(RunDir(tmp_path).submissions):
        record.read(tmp_path)
    with refused(RunDir(tmp_path).submissions):
        record.add(tmp_path, submission(1))
    assert RunDir(tmp_path).submissions.read_text() == text


@pytest.mark.parametrize("bad", ["12;rm", "", "-1", "12_", "x"])
def test_ids_are_numbers(bad: str) -> None:
    with pytest.raises(ValueError, match="id"):
        submission(1).model_validate({**submission(1).model_dump(), "id": bad})


@pytest.mark.parametrize(
    ("scheduler", "overrides", "folder"),
    [
        ("slurm", [], "runs/demo"),
        ("slurm", ["launch.workdir=/p/work"], "/p/work/runs/demo"),
        ("local", ["run.dir=/data/a"], "/data/a"),
        ("kubernetes", [], "runs/demo"),
        ("kubernetes", ["launch.workdir=/p/work"], "runs/demo"),
        ("kubernetes", ["run.dir=/workspace/big", "run.name=mine"], "runs/mine"),
        ("kubernetes", ["run.dir=../up", "run.name=mine"], "runs/mine"),
    ],
)
def test_folder(scheduler: record.Scheduler, overrides: list[str], folder: str) -> None:
    assert record.folder_of(compose(overrides), scheduler) == Path(folder)
