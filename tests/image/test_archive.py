"""What is read from archives and records, and what is refused."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from refusals import refused
from slipway.image import archive, record

CONFIG = json.dumps({"architecture": "arm64", "config": {"Labels": {"a": "b"}}}).encode()
DIGEST = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"


def write(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def whole(path: Path) -> Path:
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["slipway:cpu"], "Layers": []}]).encode()
    return write(path, {"config.json": CONFIG, "manifest.json": manifest})


def test_the_digest_is_that_of_the_configuration(tmp_path: Path) -> None:
    found = archive.read(whole(tmp_path / "a.tar"))
    assert (found.digest, found.tags, found.labels) == (DIGEST, ("slipway:cpu",), {"a": "b"})


@pytest.mark.parametrize("files", [{}, {"manifest.json": b"[]"}, {"manifest.json": b'[{"Config": "gone"}]'}])
def test_another_archive_is_refused_in_one_line(files: dict[str, bytes], tmp_path: Path) -> None:
    with refused("image"):
        archive.read(write(tmp_path / "a.tar", files))


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("text")
    for name in ("a.tar", "missing.tar"):
        with refused("image"):
            archive.read(tmp_path / name)


def test_records(tmp_path: Path) -> None:
    path = record.path_of(tmp_path / "slipway-cpu.tar")
    assert path.name == "slipway-cpu.json"
    record.write(path, {"digest": DIGEST})
    assert record.read(path) == {"digest": DIGEST}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    record.write(path, {"digest": "sha256:12"})
    with refused("image", 64):
        record.read(path)
    path.write_text("{}")
    with refused("image"):
        record.read(path)
