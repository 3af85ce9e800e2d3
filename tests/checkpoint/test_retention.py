"""Which checkpoints go, which stay whatever happens, and that tidying up never ends a run."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints import make_checkpoint, not_expected
from slipway.checkpoint import retention, store
from slipway.config.schema import Checkpoint


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in store.folder(run_dir).iterdir())


def kept(run_dir: Path) -> list[int]:
    return [store.step_of(path) for path in store.complete(run_dir)]


def test_a_save_that_fails_leaves_the_earlier_ones_and_the_next_removes_its_folder(run_dir: Path) -> None:
    temporary = store.begin(run_dir, 40)
    (temporary / "__0_0.distcp").write_bytes(b"half")
    shutil.copytree(temporary, temporary.with_name(".step-00000010.removed.tmp"))
    (store.folder(run_dir) / ".latest.77.tmp").write_text("step-")
    path = store.folder(run_dir) / "step-00000030"
    assert store.newest_good(run_dir) == (path, [])
    retention.tidy(run_dir, not_expected)
    make_checkpoint(run_dir, 50)
    assert names(run_dir) == ["latest", *(f"step-{step:08d}" for step in (10, 20, 30, 50))]


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "expected"),
    [(1, None, [60]), (2, None, [50, 60]), (1, 20, [20, 40, 60]), (2, 30, [30, 50, 60]), (9, None, 6)]
    + [(None, 20, 6)],
)
def test_retention(tmp_path: Path, keep_last: int | None, keep_every: int | None, expected: object) -> None:
    settings = Checkpoint(interval=10, keep_last=keep_last, keep_every=keep_every)
    for step in range(10, 70, 10):
        retention.retain(make_checkpoint(tmp_path, step), settings, not_expected)
    assert kept(tmp_path) == (list(range(10, 70, 10)) if expected == 6 else expected)
    assert store.latest(tmp_path) == store.folder(tmp_path) / "step-00000060"


@pytest.mark.parametrize("keep_last", [None, 1, 2])
def test_damaged_ones_neither_count_nor_go_nor_do_later_steps(run_dir: Path, keep_last: int | None) -> None:
    """20 is damaged; the run goes on from 10 and reaches 15."""
    (store.folder(run_dir) / "step-00000020" / ".metadata").unlink()
    make_checkpoint(run_dir, 5)
    settings = Checkpoint(interval=5, keep_last=keep_last)
    removed = retention.retain(make_checkpoint(run_dir, 15), settings, not_expected)
    gone = {None: [], 1: [5, 10], 2: [5]}[keep_last]
    assert [store.step_of(path) for path in removed] == gone
    assert kept(run_dir) == [step for step in (5, 10, 15, 20, 30) if step not in gone]


def test_a_damaged_one_takes_no_good_ones_place(run_dir: Path) -> None:
    (store.folder(run_dir) / "step-00000030" / "__0_0.distcp").unlink()
    retention.retain(make_checkpoint(run_dir, 40), Checkpoint(interval=10, keep_last=2), not_expected)
    assert kept(run_dir) == [20, 30, 40]


@given(
    steps=st.sets(st.integers(1, 500), min_size=1),
    last=st.none() | st.integers(1, 10),
    every=st.none() | st.integers(1, 50),
)
def test_the_newest_is_always_kept(steps: set[int], last: int | None, every: int | None) -> None:
    keeps = retention.to_keep(list(steps), Checkpoint(interval=1, keep_last=last, keep_every=every), {})
    assert max(steps) in keeps <= steps
    assert len(keeps) >= min(len(steps), last or len(steps))
    if every:
        assert {step for step in steps if step % every == 0} <= keeps


def test_the_best_are_kept() -> None:
    losses = {2: 5.0, 4: 3.0, 6: 4.0, 8: 3.5}
    settings = Checkpoint(interval=2, keep_last=1, keep_best=2)
    assert retention.to_keep([2, 4, 6, 8, 10], settings, losses) == {4, 8, 10}
    assert retention.to_keep([2, 4, 6, 8, 10], settings, losses, best_is_lowest=False) == {2, 6, 10}


def test_a_half_removed_checkpoint_is_never_taken_for_one(run_dir: Path, monkeypatch) -> None:
    """The removal stops in the middle."""

    def interrupted(path: Path) -> None:
        next(Path(path).iterdir()).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    newest = store.folder(run_dir) / "step-00000030"
    with pytest.raises(KeyboardInterrupt):
        retention.retain(newest, Checkpoint(interval=10, keep_last=1), not_expected)
    assert kept(run_dir) == [20, 30]
    assert store.newest_good(run_dir) == (newest, [])


def test_of_a_link_to_an_archive_only_the_link_goes(run_dir: Path, tmp_path: Path) -> None:
    old = store.folder(run_dir) / "step-00000010"
    archive = old.rename(tmp_path / "archive")
    old.symlink_to(archive)
    retention.retain(make_checkpoint(run_dir, 40), Checkpoint(interval=10, keep_last=1), not_expected)
    assert kept(run_dir) == [40]
    assert (archive / "manifest.json").is_file()


def test_what_stands_in_the_way_of_a_save_is_moved_or_told_of(run_dir: Path) -> None:
    """A file with a checkpoint's name, and a folder with the pointer's."""
    root, told = store.folder(run_dir), []
    (root / "step-00000040").write_text("a file")
    (root / "latest").unlink()
    (root / "latest" / "within").mkdir(parents=True)
    info = store.read_info(make_checkpoint(run_dir.parent / "other", 40))
    temporary = store.begin(run_dir, 40)
    for path in (run_dir.parent / "other" / "checkpoints" / "step-00000040").iterdir():
        shutil.copy(path, temporary)
    committed = store.commit(temporary, info, told.append)
    store.verify(committed)
    assert (root / "step-00000040.aside").read_text() == "a file"
    (line,) = told
    assert str(root / "latest") in line and "Is a directory" in line
    assert store.latest(run_dir) == committed
    assert (root / "latest" / "within").is_dir()
