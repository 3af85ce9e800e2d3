"""Of a folder every file is read once or named as left out, whatever links lead where."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusals import refused
from slipway.data.text.config import Source
from slipway.data.text.folders import ELSEWHERE, list_folder
from slipway.data.text.inputs import describe, find_inputs, survey
from slipway.errors import UserError


def names(*entries: object) -> list[str]:
    return [file.name for file in find_inputs("some", Source(inputs=[str(entry) for entry in entries]))]


def left_out(*entries: object) -> dict[str, str]:
    _, others = survey("some", Source(inputs=[str(entry) for entry in entries]))
    return {os.path.basename(one.path): one.reason for one in others}


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


PLACES = st.sampled_from(["a", "b", "a/c", "b/d", "a/c/e", "../out", "../out/f"])
TREES = st.tuples(
    st.lists(PLACES, max_size=6),  # folders with a file
    st.lists(
        st.tuples(PLACES, PLACES | st.just("..") | st.just(".")), max_size=6
    ),  # links, and what they lead to
    st.lists(st.tuples(PLACES, PLACES), max_size=3),  # links to files
)


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_each_file_once(tree: tuple[list[str], list[tuple[str, str]], list[tuple[str, str]]]) -> None:
    files, to_folders, to_files = tree
    scratch = Path(tempfile.mkdtemp())
    try:
        root = scratch / "in"
        for place in ("a/c/e", "b/d", "../out/f"):
            (root / place).mkdir(parents=True, exist_ok=True)
        for place in files:
            write(root / place / "file.txt")
        for i, (place, target) in enumerate(to_folders):
            (root / place / f"folder{i}").symlink_to((root / target).resolve())
        for i, (place, target) in enumerate(to_files):
            if (root / target / "file.txt").exists():
                (root / place / f"link{i}.txt").symlink_to(root / target / "file.txt")
        found = list_folder(str(root), (), lambda name: "", "here", set())
        reached = {os.path.realpath(os.path.join(folder, name)) for folder, name in _reach(root)}
        read = [os.path.realpath(root / name) for name in found.files]
        assert sorted(read) == sorted(reached)
        assert found.files == sorted(found.files)
        assert set(found.left_out.values()) <= {ELSEWHERE}
    finally:
        shutil.rmtree(scratch)


def _reach(root: Path) -> Iterator[tuple[str, str]]:
    """Every file that any way leads to: os.walk, which does not see loops."""
    seen = set()
    for folder, inner, files in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:
            inner.clear()
            continue
        seen.add(os.path.realpath(folder))
        yield from ((folder, name) for name in files)


def test_links_are_followed_and_nothing_is_read_twice(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "v2/a.txt")
    write(tmp_path / "elsewhere/b.txt")
    (folder / "latest").symlink_to("v2")
    (folder / "up").symlink_to(folder)
    (folder / "shared").symlink_to(tmp_path / "elsewhere")
    (folder / "again.txt").symlink_to("v2/a.txt")
    assert names(folder) == ["shared/b.txt", "v2/a.txt"]
    assert left_out(folder) == dict.fromkeys(("latest", "up", "again.txt"), ELSEWHERE)


def test_a_link_gives_a_file_its_type(tmp_path: Path) -> None:
    """As in a cache of downloads: files without types, and links with them."""
    write(tmp_path / "blobs/1f3a", '{"text": "x"}\n')
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots/train.jsonl").symlink_to("../blobs/1f3a")
    assert names(tmp_path) == ["snapshots/train.jsonl"]
    assert left_out(tmp_path) == {"1f3a": "of type (none)"}


@pytest.mark.parametrize("name", ["gone.txt", "gone"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_that_leads_nowhere(tmp_path: Path, name: str, target: str) -> None:
    write(tmp_path / "a.txt")
    (tmp_path / name).symlink_to(name if target == "itself" else target)
    with pytest.raises(UserError, match=rf"inputs\[0\]: the link {tmp_path / name} leads nowhere"):
        find_inputs("some", Source(inputs=[str(tmp_path)]))


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    write(tmp_path / "in/a.txt")
    write(tmp_path / "in/sub/b.txt")
    (tmp_path / "in/sub").chmod(0)
    monkeypatch.chdir(tmp_path)
    try:
        with without_privileges():
            for entry in ("in", "in/**/*.txt", "in/*"):
                with pytest.raises(UserError, match=r"the folder in/sub cannot be read: Permission denied"):
                    find_inputs("some", Source(inputs=[entry]))
            with pytest.raises(UserError, match=r"in/sub/b.txt.*Permission denied"):
                find_inputs("some", Source(inputs=["in/sub/b.txt"]))
    finally:
        (tmp_path / "in/sub").chmod(0o755)


def test_what_is_no_file(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "pipe")
    assert left_out(tmp_path) == {"pipe": "of type (none)"}
    with socket.socket(socket.AF_UNIX) as opened, _inside(tmp_path):
        opened.bind("s.jsonl")
        with refused("data.sources.some.inputs[0]", "s.jsonl"):
            find_inputs("some", Source(inputs=[str(tmp_path)]))


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Paths of sockets are short."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("ending", [".xz", ".bz2", ".zip", ".gz.gz", ".lz4"])
def test_compressed_text_that_cannot_be_unpacked(tmp_path: Path, ending: str) -> None:
    write(tmp_path / "a.jsonl", '{"text": "x"}\n')
    path = write(tmp_path / f"b.jsonl{ending}")
    for entry in (tmp_path, path, tmp_path / "*"):
        with pytest.raises(UserError, match=rf"b.jsonl{ending}: {ending} cannot be unpacked"):
            find_inputs("some", Source(inputs=[str(entry)]))


def test_what_is_left_out_is_named_and_counted(tmp_path: Path) -> None:
    for name in ("a.txt", "1.PNG", "2.png", "3.png", "4.png", "x.zip", "y.tar.gz", "Makefile"):
        write(tmp_path / name)
    write(tmp_path / "e.jsonl", "")
    files, others = survey("some", Source(inputs=[str(tmp_path)]))
    assert [file.name for file in files] == ["a.txt", "e.jsonl"]
    said = describe(others)
    for part in (
        "4 of type .png (",
        ", ...)",
        "1 of type .zip (",
        "1 of type .gz (",
        "1 of type (none) (",
        "1 empty (",
    ):
        assert part in said
    assert str(tmp_path / "e.jsonl") in said and str(tmp_path / "Makefile") in said


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.zst", "a.parquet"])
def test_an_empty_file_that_cannot_be_empty(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b.txt")
    write(tmp_path / name, "")
    with pytest.raises(UserError, match=rf"{name} is empty"):
        find_inputs("some", Source(inputs=[str(tmp_path)]))


class TestPatterns:
    def test_in_order_and_nothing_hidden(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("b.jsonl", "a.jsonl", "c.txt", ".d.jsonl", "sub/e.jsonl", "sub/deep/f.jsonl"):
            write(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        assert names("*.jsonl") == ["a.jsonl", "b.jsonl"]
        assert names(f"{tmp_path}/[bc].*") == ["b.jsonl", "c.txt"]
        assert names("**/*.jsonl") == ["a.jsonl", "b.jsonl", "f.jsonl", "e.jsonl"]
        assert names("sub/*/f.jsonl") == ["f.jsonl"]
        assert names(".?.jsonl") == [".d.jsonl"]

    def test_a_folder_that_matches_is_read_once(self, tmp_path: Path) -> None:
        for name in ("in/a.txt", "in/sub/b.txt", "in/sub/deep/c.txt"):
            write(tmp_path / name)
        (tmp_path / "in/sub/up").symlink_to(tmp_path / "in")
        assert names(tmp_path / "in/**") == names(tmp_path / "in") == ["a.txt", "sub/b.txt", "sub/deep/c.txt"]
        assert names(tmp_path / "in/*") == ["a.txt", "b.txt", "deep/c.txt"]
        assert left_out(tmp_path / "in/*")["a.txt"] == ELSEWHERE
        assert names(tmp_path / "in/**/*.txt") == ["a.txt", "b.txt", "c.txt"]

    def test_a_file_of_that_name_wins(self, tmp_path: Path) -> None:
        write(tmp_path / "a*.txt")
        write(tmp_path / "ab.txt")
        assert names(tmp_path / "a*.txt") == ["a*.txt"]

    def test_nothing_matches(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"inputs\[0\]: .*\*.jsonl: nothing matches this pattern"):
            names(tmp_path / "*.jsonl")
