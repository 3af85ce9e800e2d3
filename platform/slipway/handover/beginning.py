"""The result of an import: a run whose step 0 has the weights of another library."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from slipway import files, models
from slipway.checkpoint import store
from slipway.checkpoint.store import CheckpointInfo, Imported
from slipway.config.schema import Parallelism
from slipway.data.ledger import DataLedger
from slipway.engine import tensors_of
from slipway.errors import UserError
from slipway.handover import origin
from slipway.handover.progress import Progress
from slipway.handover.weights import whole_shapes
from slipway.models.formats import Part, Shape
from slipway.plan import Plan, plan_file
from slipway.run_dir import RunDir
from slipway.runs.segment import check_free

if TYPE_CHECKING:
    from torch import Tensor


def check_place(run_dir: Path) -> None:
    """Raise UserError if the run has begun."""
    RunDir(run_dir).check()
    check_free(run_dir)
    begun = [str(path) for path in store.complete(run_dir)] or [
        str(path) for path in (RunDir(run_dir).metrics,) if path.exists()
    ]
    if begun:
        raise UserError(
            "run.dir",
            f"already holds {Path(begun[-1]).name}",
            value=run_dir,
            do="choose another run.dir",
        )


def write(
    plan: Plan,
    parts: list[Part],
    numbers: Callable[[Part], "Tensor"],
    imported: Imported,
    besides: Callable[[], None] = lambda: None,
) -> Path:
    """Write step 0 and plan.json, and return the checkpoint's path. The checkpoint gets its name last.

    numbers: returns the numbers of a part in fp32, in the part's shape. besides: writes what else belongs to the run.
    An exception of theirs passes through; until the weights are written, it leaves the run's directory as it was.
    """
    import torch

    config = plan.config
    by_place = {(part.key, part.at): part for part in parts}
    alone = tensors_of(config)
    buffers = {part.key for part in parts if part.buffer}
    weights = {key: alone.Weight(leading, shape, key in buffers) for key, leading, shape in _weights(parts)}
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[config.training.precision]
    copied = 0 if dtype == torch.float32 else sum(not part.buffer for part in parts)
    progress = Progress("import", len(parts) + copied)

    def value(key: str, at: Shape) -> "Tensor":
        progress.advance()
        return numbers(by_place[key, at])

    there = files.nearest_existing(store.folder(config.run.dir)).absolute()
    folder = store.begin(config.run.dir, 0)
    try:
        alone.write(folder, weights, value, dtype)
    except BaseException:
        files.remove(folder)
        _remove_empty(folder.absolute().parent, there)
        raise
    besides()
    origin.keep(config.run.dir, imported)
    plan_file.write(plan, RunDir(config.run.dir).plan)
    info = CheckpointInfo(
        step=0,
        updates=0,
        data=DataLedger.begin(config.training.seed, config.data.weights, {}),
        world_size=1,
        parallelism=Parallelism(),
        precision=config.training.precision,
        shape=models.shape(config),
        versions={"torch": version("torch")},
        imported=imported,
    )
    warnings: list[str] = []
    path = store.commit(folder, info, warnings.append)
    for line in warnings:
        print(f"warning: {line}")
    return path


def _remove_empty(folder: Path, until: Path) -> None:
    """Remove the folder and those above it while they are empty, up to `until`, which existed before."""
    while folder != until and not files.names(folder):
        folder.rmdir()
        folder = folder.parent


def _weights(parts: list[Part]) -> list[tuple[str, Shape, Shape]]:
    """Return the key, the leading axes and the shape of a part for each key."""
    axes = {part.key: len(part.at) for part in parts}
    return [(key, shape[: axes[key]], shape[axes[key] :]) for key, shape in whole_shapes(parts).items()]
