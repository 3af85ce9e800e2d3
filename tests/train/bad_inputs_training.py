"""What users get wrong when they train, and what stands in the run's folder: rows of the table."""

import json
from collections.abc import Callable
from pathlib import Path

from bad_inputs import BadInput
from checkpoints import an_index
from slipway import models
from slipway.checkpoint import manifest as checkpoint_manifest
from slipway.config.compose import compose
from slipway.data.ledger import DataLedger

STEP_10 = Path("runs/demo/checkpoints/step-00000010")


def a_checkpoint(**changes: object) -> Callable[[Path], None]:
    """A checkpoint of the demo at step 10, with these fields of slipway.json changed (shape: some fields)."""

    def prepare(folder: Path) -> None:
        config = compose([])
        shape = {**models.shape(config), **changes.pop("shape", {})}  # type: ignore[dict-item]
        info = {
            "step": 10,
            "updates": 10,
            "data": DataLedger.begin(1234, {"stdlib": 1}, {}).advance(160).model_dump(),
            "world_size": 1,
            "parallelism": config.parallelism.model_dump(mode="json"),
            "precision": "fp32",
            "versions": {},
        }
        (folder / STEP_10).mkdir(parents=True)
        (folder / STEP_10 / "slipway.json").write_text(json.dumps({**info, "shape": shape, **changes}))
        (folder / STEP_10 / ".metadata").write_bytes(an_index({}))
        _list_files(folder / STEP_10)

    return prepare


def _no_info(folder: Path) -> None:
    (folder / STEP_10).mkdir(parents=True)


def _half_an_info(folder: Path) -> None:
    a_checkpoint()(folder)
    path = folder / STEP_10 / "slipway.json"
    path.write_bytes(path.read_bytes()[:40])


def _planted_index(folder: Path) -> None:
    """An index whose unpickling would create a file, and a manifest made to fit it."""
    a_checkpoint()(folder)
    (folder / STEP_10 / ".metadata").write_bytes(b"cposix\nsystem\n(S'touch owned'\ntR.")
    _list_files(folder / STEP_10)


def _no_index(folder: Path) -> None:
    a_checkpoint()(folder)
    (folder / STEP_10 / ".metadata").unlink()


def _list_files(checkpoint: Path) -> None:
    manifest = checkpoint / checkpoint_manifest.FILE
    manifest.write_text(checkpoint_manifest.make(checkpoint).text())


def _file_in_the_way(folder: Path) -> None:
    (folder / "runs").write_text("")


ROWS = [
    BadInput(
        "two nodes, no launcher",
        "train resources.nodes=2",
        "resources.nodes",
        ("2", "srun", "1"),
    ),
    BadInput(
        "a cluster's GPUs on a machine without one",
        "train cluster=juwels_booster resources.devices_per_node=4",
        "cluster.device.kind",
        ("juwels_booster", "GPU", "cluster=local"),
    ),
    BadInput("a file where the run goes", "train", "run.dir", ("runs/demo", "runs"), _file_in_the_way),
    BadInput(
        "the only checkpoint is empty",
        "train",
        "run.dir",
        ("step-00000010", "manifest.json"),
        _no_info,
    ),
    BadInput(
        "the only checkpoint is torn",
        "train",
        "run.dir",
        ("slipway.json", "40"),
        _half_an_info,
    ),
    BadInput(
        "checkpoint of another model",
        "train",
        "model.hidden_size",
        ("128", "256", "step-00000010", "run.dir"),
        a_checkpoint(shape={"hidden_size": 256}),
    ),
    BadInput(
        "checkpoint in another precision",
        "train",
        "training.precision",
        ("fp32", "bf16", "step-00000010"),
        a_checkpoint(precision="bf16"),
    ),
    BadInput(
        "fewer steps than done",
        "train training.steps=5 optimizer.lr_warmup_steps=0",
        "training.steps",
        ("5", "10"),
        a_checkpoint(),
    ),
    BadInput("the only checkpoint has no index", "train", "run.dir", ("metadata",), _no_index),
    BadInput("planted payload", "train", "run.dir", ("metadata", "posix.system"), _planted_index),
]
