"""Power cuts: a file system on an image of its own, whose backing file is copied while its writers stand still.

What the copy holds is what the disk would hold: what was flushed, and of the rest whatever the kernel had got round
to. Needs root and a loop device.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest


def possible() -> bool:
    """Whether this machine lets us mount images."""
    return os.geteuid() == 0 and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4") is not None


def make(image: Path, megabytes: int) -> None:
    """An empty ext4 file system in a file. Skips the test where there are no tools for it."""
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    _do("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The image's file system at `folder`, without ext4's habit of flushing what is renamed (noauto_da_alloc).

    Other file systems do not have that habit. Thawed and taken away at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _do("mount", "-o", "loop,noauto_da_alloc,commit=300", str(image), str(folder))
    try:
        yield folder
    finally:
        limit = time.monotonic() + 30
        while subprocess.run(["umount", str(folder)], capture_output=True).returncode:
            assert time.monotonic() < limit, f"cannot unmount {folder}"
            subprocess.run(["fsfreeze", "-u", str(folder)], capture_output=True, timeout=60)
            time.sleep(0.2)


@contextmanager
def standing_still(processes: list[psutil.Process]) -> Iterator[None]:
    """All of these processes are stopped, and go on afterwards (those that are still there)."""
    for process in processes:
        process.suspend()
    try:
        limit = time.monotonic() + 10
        while any(_busy(process) for process in processes) and time.monotonic() < limit:
            time.sleep(0.01)
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.resume()


def cut(image: Path, copy: Path) -> None:
    """What a power cut now would leave of the image; its writers stand still."""
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True, timeout=60)


def _busy(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def _do(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system of our own on this machine: {error}")
