"""`slipway import FORMAT --from FILE run.dir=DIR ...`: a file of another library as the start of a run."""

import argparse
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import files, models
from slipway.checkpoint import store
from slipway.checkpoint.store import CheckpointInfo, Imported
from slipway.config.schema import Parallelism, RunConfig
from slipway.data.files import checksum
from slipway.data.ledger import DataLedger
from slipway.engine import tensors_of
from slipway.errors import EXIT_DONE, UserError
from slipway.handover import tensor_file
from slipway.handover.outward import whole_shapes
from slipway.handover.progress import Progress
from slipway.models.formats import Format, Part, Shape, format_of
from slipway.optimizers import algorithm
from slipway.plan import Plan, plan_file
from slipway.plan.kept import plan_of
from slipway.run_dir import RunDir
from slipway.runs.segment import check_free

if TYPE_CHECKING:
    from torch import Tensor

    from slipway.handover.tensor_file import Source

TOLERANCE = 1e-5
"""Of what follows from the configuration: other libraries compute sines in other precisions."""


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Make step 0 of the run that `slipway train` with the same configuration continues.

    Options: `action`, the format; `from`.
    """
    option = f"import {options.action} --from"
    path = tensor_file.check(option, getattr(options, "from"))
    if not path.is_file():
        raise UserError(option, "does not exist" if not path.exists() else "is not a file", value=path)
    form = format_of(config, options.action)
    form.check(config)
    plan = plan_of(config)
    _check_place(config.run.dir)

    given = Given(config, form, path)
    weights = _write(plan, given, Imported(format=options.action, file=path.name, sha256=checksum(path)))
    print(f"imported {path} as {weights}: {len(given.source.shapes)} tensors; the optimizer begins anew")
    print(f"not in the file, taken from the configuration: {form.unknown(config)}")
    for line in given.notes:
        print(line)
    print(f"`slipway train` with the same words continues it, in any layout: {config.run.dir}")
    return EXIT_DONE


def _check_place(run_dir: Path) -> None:
    """Raise UserError where the run has begun."""
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


class Given:
    """A file's tensors by the names of the format, compared with what the configuration makes of them."""

    def __init__(self, config: RunConfig, form: Format, path: Path) -> None:
        """Raises UserError for the first difference."""
        self.path, self.source = path, _source(path)
        self.notes: list[str] = []
        self.parts = list(form.parts(config))
        self.names = self._renamed(form)
        shapes = {name: self.source.shapes[there] for name, there in self.names.items()}
        wanted = {name: shape for part in self.parts for name, shape in part.theirs.items()}
        _check_sizes(path, config, form.sizes(wanted), form.sizes(shapes))
        constants = form.constants(config)
        self._check_names(wanted, shapes, set(constants))
        for name, constant in constants.items():
            if name in shapes:
                self._check_constant(name, constant.shape, shapes[name], constant.values)
        self.by_place = {(part.key, part.at): part for part in self.parts}

    def part(self, key: str, at: tuple[int, ...]) -> "Tensor":
        """The part of a checkpoint's tensor, in fp32. Raises UserError where a number is not finite."""
        import torch

        part = self.by_place[key, at]
        return part.join([self._numbers(name) for name in part.theirs]).to(torch.float32)

    def _numbers(self, name: str) -> "Tensor":
        import torch

        tensor = self.source.read(self.names[name])
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise UserError(
                self.path,
                f"{name} is {tensor.dtype}",
                use="float32, or bfloat16 or float16, which fit into it",
            )
        if not tensor.isfinite().all():
            raise UserError(self.path, f"{name} holds numbers that are not finite")
        return tensor

    def _renamed(self, form: Format) -> dict[str, str]:
        names: dict[str, str] = {}
        for there in self.source.shapes:
            name = form.renamed(there)
            if name in names:
                raise UserError(self.path, f"holds {name} twice, as {names[name]} and {there}")
            names[name] = there
        return names

    def _check_names(
        self, wanted: Mapping[str, Shape], found: Mapping[str, Shape], constants: set[str]
    ) -> None:
        missing = [name for name in wanted if name not in found]
        unexpected = [name for name in found if name not in wanted and name not in constants]
        for problem, names in (("are missing", missing), ("belong to no part of the model", unexpected)):
            if names:
                several = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise UserError(self.path, f"{names[0]}{several}: {problem}")
        for name, shape in wanted.items():
            if found[name] != shape:
                raise UserError(
                    self.path, f"{name} is {list(found[name])}; {list(shape)} follows from `model`"
                )

    def _check_constant(self, name: str, shape: Shape, found: Shape, values: Any) -> None:
        if found != shape:
            self.notes.append(
                f"{name} is {list(found)} in the file, and {list(shape)} here: it is computed, not kept"
            )
            return
        off = (self.source.read(self.names[name]).float() - values().reshape(shape)).abs().max().item()
        if not off <= TOLERANCE:
            raise UserError(
                self.path,
                f"{name} differs by {off:.1g} from what is computed here, so that the model would be another",
            )


def _source(path: Path) -> "Source":
    return tensor_file.kind(path).Source(path)


def _check_sizes(path: Path, config: RunConfig, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise UserError for the first field of `model` that the file says otherwise, with all that it says."""
    differing = [name for name in theirs if ours.get(name) != theirs[name]]
    if differing:
        words = " ".join(f"model.{name}={_word(theirs[name])}" for name in differing)
        first = differing[0]
        raise UserError(
            f"model.{first}",
            f"is not {_word(theirs[first])}, which follows from the shapes in {path}",
            value=_word(ours.get(first)),
            use=words,
        )


def _word(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def _write(plan: Plan, given: Given, imported: Imported) -> Path:
    import torch

    config = plan.config
    alone = tensors_of(config)
    weights = {key: alone.Weight(leading, shape) for key, leading, shape in _weights(given.parts)}
    states = algorithm(config).states
    folder = store.begin(config.run.dir, 0)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[config.training.precision]
    progress = Progress("import", len(given.parts))

    def value(key: str, at: tuple[int, ...]) -> "Tensor":
        progress.advance()
        return given.part(key, at)

    try:
        alone.write(folder, weights, value, dtype, states)
    except BaseException:
        files.remove(folder)
        raise
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
    plan_file.write(plan, RunDir(config.run.dir).plan)
    for line in warnings:
        print(f"warning: {line}")
    return path


def _weights(parts: list[Part]) -> list[tuple[str, Shape, Shape]]:
    """Key, leading axes, shape of a part; each key once."""
    whole = whole_shapes(parts)
    axes = {part.key: len(part.at) for part in parts}
    return [(key, shape[: axes[key]], shape[axes[key] :]) for key, shape in whole.items()]
