"""A SIF says what it was made from, and a signature holds it to that."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from container_tools import Image, good, run, slipway

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def keys(work: Path) -> tuple[Path, Path]:
    """A private key and its public one."""
    private, public = work / "key.pem", work / "key.pub"
    good(run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)]))
    good(run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]))
    return private, public


@pytest.fixture(scope="session")
def signed(work: Path, sif: Path, keys: tuple[Path, Path]) -> Path:
    """A signed copy: tests that run the SIF see it as it was built."""
    copy = work / "signed.sif"
    shutil.copyfile(sif, copy)
    good(slipway("image", "sign", str(copy), "--key", str(keys[0]), cwd=work))
    return copy


def test_the_labels_name_the_image(sif: Path, image: Image, work: Path) -> None:
    shown = json.loads(good(slipway("image", "inspect", str(sif), "--json", cwd=work)))
    assert shown["digest"] == image.digest
    assert shown["labels"]["org.slipway.variant"] == "cpu"
    assert not sif.stat().st_mode & stat.S_IWOTH


def test_verified_against_digest_and_record(
    signed: Path, image: Image, work: Path, keys: tuple[Path, Path]
) -> None:
    for word in (["--digest", image.digest], ["--record", str(image.record)], []):
        done = slipway("image", "verify", str(signed), "--key", str(keys[1]), *word, cwd=work)
        assert image.digest in good(done)


def test_another_image_is_not_verified(
    signed: Path, image: Image, work: Path, keys: tuple[Path, Path]
) -> None:
    other = "sha256:" + image.digest[:6:-1]
    done = slipway("image", "verify", str(signed), "--key", str(keys[1]), "--digest", other, cwd=work)
    assert done.returncode == 1
    assert f"made from the image {image.digest}, not from {other}" in done.stdout


@pytest.mark.parametrize("where", ["file system", "labels", "unsigned", "another key"])
def test_what_is_not_as_signed_fails(
    where: str, signed: Path, sif: Path, image: Image, work: Path, keys: tuple[Path, Path]
) -> None:
    target, key = signed, keys[1]
    if where == "unsigned":
        target = sif
    elif where == "another key":
        other = work / "other.pem"
        key = work / "other.pub"
        good(run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(other)]))
        good(run(["openssl", "pkey", "-in", str(other), "-pubout", "-out", str(key)]))
    else:
        target = work / "tampered.sif"
        shutil.copyfile(signed, target)
        digest = image.digest.removeprefix("sha256:").encode()
        with target.open("r+b") as file:
            place = (
                os.path.getsize(target) // 2 if where == "file system" else file.read(1 << 20).find(digest)
            )
            assert place > 0
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 1]))
    done = slipway("image", "verify", str(target), "--key", str(key), "--digest", image.digest, cwd=work)
    assert done.returncode == 1 and "NOT VERIFIED" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_smoke_test_is_the_sifs_test(sif: Path, work: Path) -> None:
    done = slipway("image", "test", str(sif), cwd=work)
    good(done)
    assert "ok    optimizer step of the demo model" in done.stderr and "ok    all, in" in done.stderr
