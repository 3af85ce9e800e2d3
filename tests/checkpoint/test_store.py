"""Commit, verification and choice of checkpoints, on small ones without tensors."""

import errno
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints import a_tensor, an_index, make_checkpoint
from refusals import refused
from slipway import system_errors
from slipway.checkpoint import manifest as checkpoint_manifest
from slipway.checkpoint import store
from slipway.checkpoint.manifest import Damaged
from slipway.config.compose import compose
from slipway.files import Unreadable


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


def rewrite(path: Path) -> None:
    """List what is in a checkpoint now, as whoever tampers with it would."""
    (path / "manifest.json").write_text(checkpoint_manifest.make(path).text())


def test_an_index_that_leads_out_of_the_folder(run_dir: Path) -> None:
    newest = store.complete(run_dir)[-1]
    outside = store.folder(run_dir).parent / "outside.bin"
    outside.write_bytes((newest / "__0_0.distcp").read_bytes())
    for name in (
        "../../outside.bin",
        str(outside),
        "..",
        "sub/__0_0.distcp",
        "__0_0.distcp/../manifest.json",
    ):
        (newest / ".metadata").write_bytes(an_index({name: (0, 100), "__1_0.distcp": (0, 100)}))
        rewrite(newest)
        for content in (True, False):
            with pytest.raises(Damaged, match=r"\.metadata: damaged or not ours"):
                store.verify(newest, content)


def test_a_shard_that_the_manifest_does_not_list(run_dir: Path) -> None:
    """It could be changed, and no checksum would tell."""
    newest = store.complete(run_dir)[-1]
    manifest = checkpoint_manifest.read(newest)
    left = {name: entry for name, entry in manifest.files.items() if name != "__1_0.distcp"}
    (newest / "manifest.json").write_text(checkpoint_manifest.Manifest(files=left).text())
    with pytest.raises(Damaged, match=r"__1_0\.distcp: is not in the manifest"):
        store.verify(newest, content=False)


@pytest.mark.parametrize("name", ["__7_0.distcp", "common.pt", "metadata.json"])
def test_a_file_that_loading_would_read_and_the_manifest_does_not_list(run_dir: Path, name: str) -> None:
    newest = store.complete(run_dir)[-1]
    (newest / name).write_bytes(b"{}")
    with pytest.raises(Damaged, match="is not in the manifest"):
        store.verify(newest, content=False)


def test_a_shard_that_the_index_does_not_know(run_dir: Path) -> None:
    newest = store.complete(run_dir)[-1]
    shutil.copyfile(newest / "__0_0.distcp", newest / "__7_0.distcp")
    rewrite(newest)
    with pytest.raises(Damaged, match=r"__7_0\.distcp: \.metadata knows nothing of it"):
        store.verify(newest, content=False)


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["__1_0.distcp", "common.pt"])
def test_a_pickle_planted_where_a_tensor_was_is_damage(run_dir: Path, tmp_path: Path, name: str) -> None:
    """The manifest is made to fit. The older checkpoint is taken, nothing is executed."""
    older, newest = store.complete(run_dir)[-2:]
    planted = a_tensor(pickle.dumps(Payload(tmp_path / "owned")))
    (newest / name).write_bytes(planted)
    if name != "common.pt":
        pieces = {"__0_0.distcp": (0, len(a_tensor())), name: (0, len(planted))}
        (newest / ".metadata").write_bytes(an_index(pieces))
    rewrite(newest)
    found = store.newest_good(run_dir)
    assert found.path == older
    ((path, why),) = found.skipped
    assert path == newest and "\n" not in why
    assert why.startswith(f"{name}: at 0: damaged or not ours (it names posix.mkdir")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"no zip file", a_tensor(b"no pickle")])
def test_what_is_no_tensor_is_damage(run_dir: Path, content: bytes) -> None:
    newest = store.complete(run_dir)[-1]
    (newest / "common.pt").write_bytes(content)
    rewrite(newest)
    with pytest.raises(Damaged, match=r"common\.pt: at 0: damaged or not ours"):
        store.verify(newest)


def test_a_name_in_the_manifest_stays_in_the_folder() -> None:
    entry = checkpoint_manifest.Entry(size=1, sha256="0" * 64)
    for name in ("a", ".a", "..a", "...", "__0_0.distcp", ".metadata"):
        checkpoint_manifest.Manifest(files={name: entry})
    for name in ("", ".", "..", "../a", "/a", "a/b", "a\0"):
        with pytest.raises(ValueError, match="files"):
            checkpoint_manifest.Manifest(files={name: entry})


def test_a_checkpoint_in_an_archive_that_is_not_there_now(run_dir: Path, tmp_path: Path) -> None:
    """The newest is a link; while it leads nowhere, an older one is no substitute."""
    newest = store.complete(run_dir)[-1]
    archive = newest.rename(tmp_path / "archive")
    newest.symlink_to(archive)
    assert store.newest_good(run_dir).path == newest
    archive.rename(tmp_path / "unmounted")
    with refused(newest, archive, kind=Unreadable):
        store.newest_good(run_dir)
    assert newest.is_symlink()


@pytest.mark.parametrize("target", ["step-00000030", "slipway.json", "__0_0.distcp", "manifest.json"])
def test_a_file_or_a_folder_in_the_wrong_place_is_damage(run_dir: Path, target: str) -> None:
    newest = store.complete(run_dir)[-1]
    path = newest if target == newest.name else newest / target
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if path == newest:
        path.write_text("a file")
    else:
        path.mkdir()
    assert store.newest_good(run_dir).path == store.complete(run_dir)[-2]


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
    aside = "step-00000030.aside"  # nothing is removed for being damaged
    assert names(run_dir) == ["latest", "step-00000010", "step-00000020", "step-00000030", aside]
    assert not (store.folder(run_dir) / aside / ".metadata").exists()


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
    assert system_errors.behind(full) is full
    assert system_errors.behind(wrapped) is full
    assert system_errors.behind(RanksFailed({3: (wrapped, None)})) is full
    assert system_errors.behind(ValueError("no system involved")) is None


@pytest.mark.parametrize("free", ["hidden_dropout=0.1", "init_method_std=0.01", "name=other"])
def test_what_no_weight_depends_on_may_change(tmp_path: Path, free: str) -> None:
    path = make_checkpoint(tmp_path, 10)
    store.check_fits(store.read_info(path), compose(["model=demo", f"model.{free}"]), path)


@pytest.mark.parametrize("shaped", ["num_layers=8", "norm_epsilon=1e-6", "rotary_base=500000"])
def test_what_weights_depend_on_may_not(tmp_path: Path, shaped: str) -> None:
    path = make_checkpoint(tmp_path, 10)
    with refused(f"model.{shaped.split('=')[0]}"):
        store.check_fits(store.read_info(path), compose(["model=demo", f"model.{shaped}"]), path)
