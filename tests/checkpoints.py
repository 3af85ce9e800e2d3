"""Small checkpoints that the store takes for real ones: made by its own commit, without torch."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

from slipway import models
from slipway.checkpoint import store
from slipway.config.compose import compose
from slipway.data.ledger import DataLedger


def make_checkpoint(run_dir: Path, step: int, shards: int = 2, size: int = 300) -> Path:
    """Commit a checkpoint of the demo model with `shards` data files of `size` bytes."""
    config = compose(["model=demo"])
    temporary = store.begin(run_dir, step)
    tensor = a_tensor()
    for rank in range(shards):
        rest = bytes((step + 7 * rank + 13 * at) % 256 for at in range(size - len(tensor)))
        (temporary / f"__{rank}_0.distcp").write_bytes(tensor + rest)
    pieces = {f"__{rank}_0.distcp": (0, len(tensor)) for rank in range(shards)}
    (temporary / ".metadata").write_bytes(an_index(pieces))
    info = store.CheckpointInfo(
        step=step,
        updates=step,
        data=DataLedger.begin(0, {"a": 1}, {}).advance(step * config.training.global_batch_size),
        world_size=1,
        parallelism=config.parallelism,
        precision=config.training.precision,
        shape=models.shape(config),
        versions={"torch": "0"},
    )
    return store.commit(temporary, info, warn=not_expected)


def not_expected(line: str) -> None:
    """For where nothing is to be warned of."""
    raise AssertionError(line)


def a_tensor(content: bytes | None = None) -> bytes:
    """A zip file as torch writes one for a tensor; content: its pickle."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}, protocol=2) if content is None else content)
    return archive.getvalue()


def an_index(pieces: Mapping[str, tuple[int, int]]) -> bytes:
    """torch's index of tensors at (offset, length) of files, by the pickle's own words."""
    distributed = "torch.distributed.checkpoint"

    def made(module: str, name: str, state: str) -> str:
        return f"c{module}\n{name}\n)\x81}}({state}ub"

    stored = "".join(
        f"I{number}\n"
        + made(
            f"{distributed}.filesystem",
            "_StorageInfo",
            f"Vrelative_path\nV{file}\nVoffset\nI{offset}\nVlength\nI{length}\n",
        )
        for number, (file, (offset, length)) in enumerate(pieces.items())
    )
    return (
        b"\x80\x02"
        + made(f"{distributed}.metadata", "Metadata", f"Vstorage_data\n}}({stored}u").encode("latin-1")
        + b"."
    )
