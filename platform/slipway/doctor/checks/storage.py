"""The checks of directories: whether they can be written, have room, and are the same on all nodes."""

import hashlib
import os
import secrets
import tempfile
import time
from pathlib import Path

from slipway.config.schema import Parallelism
from slipway.data import kind_of
from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import IN_JOB, Here
from slipway.files import nearest_existing
from slipway.models import family
from slipway.plan import summary
from slipway.words import size

GIB = 2**30
MARK = ".doctor-"
SHARED_SECONDS = 5.0  # until a network file system shows another node's file
CACHE_BYTES = GIB  # compiled kernels of one job, generously
SHM_TOO_SMALL = 64 * 2**20  # what container engines give by default; NCCL and data loaders fail with it
SHM_PER_DEVICE = GIB
CLOCK_SECONDS = 2.0


def caches(here: Here) -> Finding:
    """Return whether the caches' directory can be written and has room.

    It is SLIPWAY_CACHE in the image, elsewhere XDG_CACHE_HOME or ~/.cache.
    """
    environment = here.environment
    home = environment.get("HOME", "")
    given = environment.get("SLIPWAY_CACHE") or environment.get("XDG_CACHE_HOME")
    folder = Path(given or Path(home or "/nonexistent") / ".cache")
    expected = f"a folder to write, {CACHE_BYTES / GIB:.0f} GiB free, on a compute node not in $HOME"
    advice = "set SLIPWAY_CACHE to a folder on the node's own disk or in $TMPDIR, with room"
    trouble, _ = try_write(folder)
    if trouble:
        return Finding("caches", "fault", f"{folder}: {trouble}", expected, advice)
    free = _free(folder)
    saw = f"{folder}, {size(free)} free"
    if free < CACHE_BYTES:
        return Finding("caches", "warning", saw, expected, advice)
    in_home = (
        bool(home) and home not in ("/", "/tmp") and folder.resolve().is_relative_to(Path(home).resolve())
    )
    if in_home and here.on_node and here.multi_node:
        return Finding("caches", "warning", f"{saw}, in $HOME", expected, advice)
    return Finding("caches", "ok", saw, expected)


def run_dir(here: Here) -> Finding:
    """Return whether a file can be written into run.dir, or into the directory that it would be created in."""
    folder = here.config.run.dir
    trouble, _ = try_write(folder)
    advice = "choose a run.dir on a file system that every node may write; see quota and mounts"
    saw = f"{folder.absolute()}: {trouble or 'written'}"
    return judged(trouble is None, "run-dir", saw, "a file can be written", advice)


def space(here: Here) -> Finding:
    """Return whether run.dir has room for the checkpoints that stay, and one that is being written."""
    config, folder = here.config, nearest_existing(here.config.run.dir)
    one = checkpoint_bytes(here)
    count = (config.checkpoint.keep_last or 1) + 1
    try:
        free = _free(folder)
    except OSError as error:
        return Finding("space", "fault", f"{folder}: {error.strerror}", "free space can be asked")
    expected = f"{size(count * one)}: {count} checkpoints of {size(one)}"
    advice = "free space in run.dir, or choose another; or lower checkpoint.keep_last"
    status = "fault" if free < one else "warning"
    return judged(free >= count * one, "space", f"{size(free)} free", expected, advice, status)


def checkpoint_bytes(here: Here) -> int:
    """Return the size of one checkpoint in bytes."""
    layers = family(here.config).layers(here.config, Parallelism())
    return summary.checkpoint_bytes(here.config, sum(layer.parameters.total for layer in layers))


def data(here: Here) -> Finding:
    """Return whether the data is prepared and readable. Nothing is written, so a read-only directory is fine."""
    files = kind_of(here.config).written(here.config)
    if not files:
        kind = here.config.data.kind
        return Finding("data", "ok", f"data.kind={kind} prepares nothing", "nothing")
    folder = files[0].parent
    expected = f"{files[0]} and the files of {', '.join(here.config.data.sources)}"
    status = "fault" if here.place and not here.prepares else "warning"  # else training itself prepares it
    advice = "prepare it with `slipway data` and the same overrides, on a file system that all nodes see"
    for path in files:
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            saw = f"{path.absolute()}: {error.strerror}"
            return Finding("data", status, saw, expected, advice)
    return Finding("data", "ok", f"{folder.absolute()} is prepared", expected)


def data_digest(here: Here) -> str | None:
    """Return the digest of the file that vouches for the prepared data, to compare nodes; None if it is missing."""
    files = kind_of(here.config).written(here.config)
    try:
        return hashlib.sha256(files[0].read_bytes()).hexdigest()[:16] if files else None
    except OSError:
        return None


def shm(here: Here) -> Finding:
    """Return whether /dev/shm is large enough."""
    if not here.on_node:
        return skipped("shm", IN_JOB)
    config = here.config
    cluster, count = config.cluster, config.resources.devices_per_node
    wanted = count * SHM_PER_DEVICE
    if cluster.kubernetes:  # of a whole node; pods get their share of it, in whole MiB
        wanted = cluster.kubernetes.shm_gib * GIB * count / (cluster.devices_per_node or count) - 2**20
    if cluster.device.kind == "cpu":
        wanted = 2 * SHM_TOO_SMALL
    expected = f"{size(wanted)}, more than {size(SHM_TOO_SMALL)} at least"
    advice = "give the container the host's /dev/shm, or --shm-size; in a pod a memory-backed emptyDir"
    try:
        held = os.statvfs(here.path("/dev/shm"))
    except OSError as error:
        return Finding("shm", "fault", f"/dev/shm: {error.strerror}", expected, advice)
    whole = held.f_frsize * held.f_blocks
    status = "fault" if whole <= SHM_TOO_SMALL else "warning"
    return judged(whole >= wanted, "shm", size(whole), expected, advice, status)


def file_clock(here: Here) -> Finding:
    """Return whether the time that the file system gives a new file in run.dir agrees with the node's clock."""
    trouble, offset = try_write(here.config.run.dir)
    if trouble:
        return skipped("file-clock", f"run.dir: {trouble}")
    saw = f"{offset:+.1f} s" if abs(offset) >= 0.05 else "the same"
    advice = "ask the site to synchronise clocks (NTP, chrony) of the node and of the file server"
    expected = f"at most {CLOCK_SECONDS:.0f} s apart"
    return judged(abs(offset) <= CLOCK_SECONDS, "file-clock", saw, expected, advice, "warning")


def write_mark(run_dir: Path) -> tuple[Path, str] | None:
    """Write a file into run.dir that the other nodes should see.

    Return its path and content; None if it cannot be written.
    """
    word = secrets.token_hex(8)
    path = run_dir.absolute() / f"{MARK}{word}"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(word)
    except OSError:
        return None
    return path, word


def sees_mark(run_dir: Path, name: str, word: str, seconds: float = SHARED_SECONDS) -> bool:
    """Return whether rank 0's file appears in this node's run.dir within `seconds`."""
    limit = time.monotonic() + seconds
    while True:
        try:
            os.listdir(run_dir)  # makes NFS look again
            if (run_dir / name).read_text() == word:
                return True
        except OSError:
            pass
        if time.monotonic() > limit:
            return False
        time.sleep(0.1)


def try_write(folder: Path) -> tuple[str | None, float]:
    """Write a file into a folder, or into the directory that it would be created in, and remove it.

    Return what went wrong (None: nothing), and by how many seconds the file system's clock is ahead.
    """
    place = nearest_existing(folder)
    if not place.is_dir():
        return f"{place} is not a folder", 0.0
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=MARK) as file:
            file.write(bytes(65536))  # a full file system still makes empty files
            file.flush()
            os.fsync(file.fileno())
            return None, os.fstat(file.fileno()).st_mtime - time.time()
    except OSError as error:
        return f"{error.strerror} in {place}", 0.0


def _free(folder: Path) -> int:
    held = os.statvfs(nearest_existing(folder))
    return held.f_frsize * held.f_bavail
