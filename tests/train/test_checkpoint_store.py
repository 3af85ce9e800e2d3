"""Commit, verification, choice and retention of checkpoints, on small ones without tensors."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints import make_checkpoint
from slipway.config.schema import Checkpoint
from slipway.train import checkpoint_manifest
from slipway.train import checkpoint_store as store
from slipway.train.checkpoint_manifest import Damaged


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checkpoints 10, 20 and 30."""
    run_dir = tmp_path_factory.mktemp("run")
    for step in (10, 20, 30):
        make_checkpoint(run_dir, step)
    return run_dir


@pytest.fixture
def run_dir(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "run"))


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in store.folder(run_dir).iterdir())


def damage(path: Path, kind: str, file: str, at: int, bits: int) -> None:
    """Do `kind` of harm to a checkpoint's file; `at` and `bits` say where, as far as it matters."""
    target = path / file
    content = bytearray(target.read_bytes())
    at %= len(content)
    if kind == "flip":
        content[at] ^= bits
        target.write_bytes(content)
    elif kind == "truncate":
        target.write_bytes(content[:at])
    elif kind == "append":
        target.write_bytes(content + bytes([bits]))
    elif kind == "delete":
        target.unlink()
    elif kind == "temporary":
        shutil.copytree(path, path.with_name(f".step-{at + 40:08d}.tmp"))


FILES = (".metadata", "__0_0.distcp", "__1_0.distcp", "slipway.json", "manifest.json")
KINDS = ("flip", "truncate", "append", "delete", "temporary")


@settings(max_examples=150)
@given(
    harm=st.lists(
        st.tuples(
            st.sampled_from((10, 20, 30)),
            st.sampled_from(KINDS),
            st.sampled_from(FILES),
            st.integers(0, 10_000),
            st.integers(1, 255),
        ),
        max_size=3,
        unique_by=lambda item: item[0],  # two flips may undo each other
    )
)
def test_any_damage_is_recognized_and_the_newest_good_one_is_found(template: Path, harm: list) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        run_dir = Path(shutil.copytree(template, Path(temporary) / "run"))
        for step, *how in harm:
            damage(store.folder(run_dir) / f"step-{step:08d}", *how)
        damaged = {step: file for step, kind, file, _, _ in harm if kind != "temporary"}
        for path in store.complete(run_dir):
            step = store.step_of(path)
            if step in damaged:
                with pytest.raises(Damaged) as caught:
                    store.verify(path)
                # a manifest that is wrong about a file names the file
                assert damaged[step] in (str(caught.value).split(": ")[0], "manifest.json")
            else:
                store.verify(path)
        good = [step for step in (30, 20, 10) if step not in damaged]
        newest, skipped = store.newest_good(run_dir)
        assert newest == (store.folder(run_dir) / f"step-{good[0]:08d}" if good else None)
        assert [store.step_of(path) for path, _ in skipped] == [
            step for step in (30, 20, 10) if step in damaged and (not good or step > good[0])
        ]


def test_reasons_say_what_is_wrong(run_dir: Path) -> None:
    paths = store.complete(run_dir)
    (paths[0] / "__0_0.distcp").unlink()
    damage(paths[1], "truncate", "__1_0.distcp", 17, 0)
    damage(paths[2], "flip", "__1_0.distcp", 17, 1)
    newest, skipped = store.newest_good(run_dir)
    assert newest is None
    (_, flipped), (_, cut), (_, missing) = skipped
    assert missing == "__0_0.distcp: No such file or directory"
    assert cut == "__1_0.distcp: 300 bytes expected, 17 found"
    expected = checkpoint_manifest.read(paths[2]).files["__1_0.distcp"].sha256
    found = checkpoint_manifest.make(paths[2]).files["__1_0.distcp"].sha256
    assert expected != found
    assert flipped == f"__1_0.distcp: SHA-256 {expected} expected, {found} found"


def test_without_content_a_flipped_byte_is_not_looked_for(run_dir: Path) -> None:
    path = store.complete(run_dir)[-1]
    damage(path, "flip", "__1_0.distcp", 17, 1)
    assert store.newest_good(run_dir, content=False) == (path, [])
    assert store.newest_good(run_dir).path != path


def test_a_folder_under_another_name(run_dir: Path) -> None:
    path = store.complete(run_dir)[-1].rename(store.folder(run_dir) / "step-00000040")
    with pytest.raises(Damaged, match=r"slipway\.json: of step 30"):
        store.verify(path)


def test_the_manifest_lists_every_file(run_dir: Path) -> None:
    path = store.complete(run_dir)[0]
    files = checkpoint_manifest.read(path).files
    assert set(files) == {f.name for f in path.iterdir()} - {"manifest.json"}
    assert all(entry.size == (path / name).stat().st_size for name, entry in files.items())


def test_a_manifest_that_differs_only_in_white_space(run_dir: Path) -> None:
    path = store.complete(run_dir)[-1]
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("\n", " ", 1))
    with pytest.raises(Damaged, match=r"manifest\.json: not as it was written"):
        store.verify(path)


def test_pointer(run_dir: Path) -> None:
    pointer = store.folder(run_dir) / "latest"
    assert pointer.read_text() == "step-00000030\n"
    pointer.write_text("step-00000020\n")
    assert store.latest(run_dir) == store.folder(run_dir) / "step-00000020"
    newest = store.folder(run_dir) / "step-00000030"
    for stale in ("step-00000099\n", "../step-00000010\n", "\n"):
        pointer.write_text(stale)
        assert store.latest(run_dir) == newest
    pointer.unlink()
    assert store.latest(run_dir) == newest


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert store.latest(tmp_path) is None
    assert store.newest_good(tmp_path) == (None, [])


def test_the_same_step_again_replaces_a_damaged_one(run_dir: Path) -> None:
    damage(store.complete(run_dir)[-1], "delete", ".metadata", 0, 0)
    path = make_checkpoint(run_dir, 30, size=400)
    store.verify(path)
    assert (path / "__0_0.distcp").stat().st_size == 400
    assert names(run_dir) == ["latest", "step-00000010", "step-00000020", "step-00000030"]


def test_a_save_that_fails_leaves_the_earlier_ones_and_the_next_removes_its_folder(run_dir: Path) -> None:
    temporary = store.begin(run_dir, 40)
    (temporary / "__0_0.distcp").write_bytes(b"half")
    shutil.copytree(temporary, temporary.with_name(".step-00000010.removed.tmp"))
    (store.folder(run_dir) / ".latest.tmp").write_text("step-")
    path = store.folder(run_dir) / "step-00000030"
    assert store.newest_good(run_dir) == (path, [])
    make_checkpoint(run_dir, 50)
    assert names(run_dir) == ["latest", *(f"step-{step:08d}" for step in (10, 20, 30, 50))]


def kept(run_dir: Path) -> list[int]:
    return [store.step_of(path) for path in store.complete(run_dir)]


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "expected"),
    [(1, None, [60]), (2, None, [50, 60]), (1, 20, [20, 40, 60]), (2, 30, [30, 50, 60]), (9, None, 6)]
    + [(None, 20, 6)],
)
def test_retention(tmp_path: Path, keep_last: int | None, keep_every: int | None, expected: object) -> None:
    settings = Checkpoint(interval=10, keep_last=keep_last, keep_every=keep_every)
    for step in range(10, 70, 10):
        store.retain(make_checkpoint(tmp_path, step), settings)
    assert kept(tmp_path) == (list(range(10, 70, 10)) if expected == 6 else expected)
    assert store.latest(tmp_path) == store.folder(tmp_path) / "step-00000060"


def test_retention_removes_what_the_run_has_gone_back_behind(run_dir: Path) -> None:
    """30 was skipped as damaged and the run went on from 20: 30 must neither count nor come back."""
    for path in store.complete(run_dir):
        if store.step_of(path) == 20:
            damage(path, "flip", ".metadata", 0, 1)
    removed = store.retain(make_checkpoint(run_dir, 15), Checkpoint(interval=5, keep_last=2))
    assert [store.step_of(path) for path in removed] == [20, 30]
    assert kept(run_dir) == [10, 15]


@given(
    steps=st.sets(st.integers(1, 500), min_size=1),
    last=st.none() | st.integers(1, 10),
    every=st.none() | st.integers(1, 50),
)
def test_the_newest_is_always_kept(steps: set[int], last: int | None, every: int | None) -> None:
    keeps = store.to_keep(list(steps), Checkpoint(interval=1, keep_last=last, keep_every=every), {})
    assert max(steps) in keeps <= steps
    assert len(keeps) >= min(len(steps), last or len(steps))
    if every:
        assert {step for step in steps if step % every == 0} <= keeps


def test_the_best_are_kept() -> None:
    losses = {2: 5.0, 4: 3.0, 6: 4.0, 8: 3.5}
    settings = Checkpoint(interval=2, keep_last=1, keep_best=2)
    assert store.to_keep([2, 4, 6, 8, 10], settings, losses) == {4, 8, 10}


def test_a_half_removed_checkpoint_is_never_taken_for_one(run_dir: Path, monkeypatch) -> None:
    """The removal stops in the middle."""

    def interrupted(path: Path) -> None:
        next(Path(path).iterdir()).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(store.shutil, "rmtree", interrupted)
    newest = store.folder(run_dir) / "step-00000030"
    with pytest.raises(KeyboardInterrupt):
        store.retain(newest, Checkpoint(interval=10, keep_last=1))
    assert kept(run_dir) == [20, 30]
    assert store.newest_good(run_dir) == (newest, [])


class RanksFailed(BaseException):
    """As torch's CheckpointException: errors by rank, and no OSError itself."""

    def __init__(self, failures: dict) -> None:
        self.failures = failures


def test_the_systems_error_is_found_behind_others() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "shard")
    try:
        try:
            raise full
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904 as torch's C++ does
    except RuntimeError as error:
        wrapped = error
    assert store.system_error(full) is full
    assert store.system_error(wrapped) is full
    assert store.system_error(RanksFailed({3: (wrapped, None)})) is full
    assert store.system_error(ValueError("no system involved")) is None
