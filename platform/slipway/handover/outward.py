"""`slipway export FORMAT run.dir=DIR --to FILE`: a checkpoint's weights as a file of another library."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import files, models
from slipway.checkpoint import store
from slipway.checkpoint.manifest import Damaged
from slipway.config.schema import RunConfig
from slipway.engine import tensors_of
from slipway.errors import EXIT_DONE, Fault, UserError
from slipway.handover import tensor_file
from slipway.handover.progress import Progress
from slipway.models.formats import Format, Part, Shape, format_of
from slipway.plan import plan_file
from slipway.run_dir import RunDir
from slipway.words import size

if TYPE_CHECKING:
    from torch import Tensor, dtype


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """The configuration names the run, by run.dir. Options: `action`, the format; `to`; `step`; `precision`."""
    name = f"export {options.action}"
    target = tensor_file.check(f"{name} --to", options.to)
    if target.exists():
        raise UserError(
            f"{name} --to", "is there already", value=target, do="remove it, or name another file"
        )
    trained = _trained(config, options.argv)
    form = format_of(trained, options.action)
    form.check(trained)
    path = _chosen(trained.run.dir, options.step, name)
    info = store.read_info(path)
    if info.shape != models.shape(trained):
        raise UserError(
            path, "is of another model than plan.json beside it", do="put the run's own plan.json back"
        )
    files.make_folder(target.absolute().parent)

    weights = Weights(trained, form, path, options.precision or "fp32", name)
    progress = Progress("export", len(weights.shapes))
    with files.whole(target) as beside:
        tensor_file.kind(target).write(beside, weights.shapes, weights.dtype, progress.of(weights.tensors()))
    print(f"exported step {info.step:,} of {trained.run.dir} to {target}: {weights.described()}")
    print(
        f"{form.library} loads it with (docs/{options.action}.md)\n{form.usage(trained, str(target.absolute()))}"
    )
    return EXIT_DONE


class Weights:
    """All tensors of a file in another format, made from a checkpoint as they are asked for."""

    def __init__(self, config: RunConfig, form: Format, path: Path, precision: str, command: str) -> None:
        """Raises UserError where the checkpoint does not hold what the format is made of. command: for messages."""
        import torch

        self.dtype: dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.reader = tensors_of(config).Reader(path)
        self.parts, self.constants = list(form.parts(config)), form.constants(config)
        check_weights(path, whole_shapes(self.parts), self.reader.shapes)
        self.keys = {key: key if precision == "bf16" else self.reader.main(key) for key in self.reader.shapes}
        for own, key in self.keys.items():
            if self.reader.dtype(key) != self.dtype:
                raise UserError(
                    f"{command} --precision",
                    f"is not what the checkpoint holds of {own}: {str(self.reader.dtype(key)).partition('.')[2]}",
                    value=precision,
                    use="fp32" if precision == "bf16" else "bf16",
                )
        self.shapes: dict[str, Shape] = {n: s for part in self.parts for n, s in part.theirs.items()}
        self.shapes |= {name: constant.shape for name, constant in self.constants.items()}
        self.copies = any(own != key for own, key in self.keys.items())

    def tensors(self) -> Iterator[tuple[str, "Tensor"]]:
        """Name and numbers, in the order of `shapes`."""
        for part in self.parts:
            ours = self.reader.read(self.keys[part.key], part.at)
            for (name, shape), theirs in zip(part.theirs.items(), part.split(ours), strict=True):
                assert tuple(theirs.shape) == shape, (name, theirs.shape)
                yield name, theirs
        for name, constant in self.constants.items():
            yield name, constant.values().to(self.dtype).reshape(constant.shape)

    def described(self) -> str:
        """How much it is, and in which precision."""
        from math import prod

        total = sum(map(prod, self.shapes.values())) * self.dtype.itemsize
        which = str(self.dtype).partition(".")[2]
        if self.copies:
            which += ", the copies that training updates"
        elif which == "bfloat16":
            which += ", as the model computes with them; training updates fp32 copies (--precision fp32)"
        return f"{len(self.shapes)} tensors, {size(total)}, {which}"


def whole_shapes(parts: list[Part]) -> dict[str, Shape]:
    """The shapes of a checkpoint's tensors that are made of these parts."""
    found: dict[str, Shape] = {}
    for part in parts:
        leading = tuple(n + 1 for n in part.at)
        before = found.get(part.key, leading)[: len(leading)]
        found[part.key] = (*map(max, before, leading), *part.shape)
    return found


def check_weights(path: Path, wanted: dict[str, Shape], found: dict[str, Shape]) -> None:
    """Raise UserError for the first tensor of a checkpoint that is missing, is too much, or has another shape."""
    for key in sorted(wanted.keys() | found.keys()):
        if key not in found:
            raise UserError(path, f"{key} {list(wanted[key])} is missing")
        if key not in wanted:
            raise UserError(path, f"{key} {list(found[key])} has no place in the format")
        if wanted[key] != found[key]:
            raise UserError(
                path, f"{key} is {list(found[key])}, and {list(wanted[key])} by plan.json beside it"
            )


def _trained(config: RunConfig, argv: list[str]) -> RunConfig:
    """The configuration that the run was trained with. Raises UserError where what is asked for differs from it."""
    folder = config.run.dir
    if not folder.is_dir():
        raise UserError("run.dir", "does not exist", value=folder)
    trained = plan_file.read_config(RunDir(folder).plan)
    asked, was = config.model_dump(mode="json"), trained.model_dump(mode="json")
    for word in argv:
        key = word.partition("=")[0].lstrip("+")
        if "=" in word and not word.startswith("-") and _at(asked, key) != _at(was, key) and key != "run.dir":
            raise UserError(
                key,
                f"has no effect: an export is of the run as it was trained, with {_at(was, key)}",
                value=_at(asked, key),
                do=f"omit it; run.dir={folder} says enough",
            )
    return trained.model_copy(update={"run": trained.run.model_copy(update={"dir": folder})})


def _at(plain: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        plain = plain.get(key) if isinstance(plain, dict) else None
    return plain


def _chosen(run_dir: Path, step: int | None, command: str) -> Path:
    """The checkpoint of a step, or the newest good one, verified."""
    if step is None:
        newest = store.newest_good(run_dir)
        for path, problem in newest.skipped:
            print(f"{path} is damaged and passed over: {problem}", flush=True)
        if newest.path is None:
            raise UserError("run.dir", f"{store.folder(run_dir)} holds no undamaged checkpoint")
        return newest.path
    complete = {store.step_of(path): path for path in store.complete(run_dir)}
    if step not in complete:
        there = ", ".join(map(str, complete)) or "none"
        raise UserError(
            f"{command} --step", f"is not in {store.folder(run_dir)}, which holds {there}", value=step
        )
    try:
        store.verify(complete[step])
    except Damaged as error:
        raise Fault(complete[step], str(error), do="choose another --step") from None
    return complete[step]
