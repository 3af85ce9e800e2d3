"""`slipway import FORMAT FILE run.dir=DIR ...`: begin a run with the weights of another library."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.checkpoint.store import Imported
from slipway.config.schema import RunConfig
from slipway.data.files import checksum
from slipway.errors import EXIT_DONE, UserError
from slipway.handover import beginning, given, tensor_file
from slipway.models.formats import Format, Part, Shape, format_of
from slipway.plan.kept import plan_of

if TYPE_CHECKING:
    from torch import Tensor

    from slipway.handover.tensor_file import Source

TOLERANCE = 1e-5
"""The largest difference of constants that are computed: other libraries compute sines in other precisions."""


def run_words(overrides: Sequence[str], options: argparse.Namespace) -> int:
    """Write step 0 of the run that `slipway train` with the same configuration continues. Returns the exit code.

    Options: `action`, the format; `source`, what is imported.
    """
    if options.action == "hf":
        from slipway.handover import folder_in

        return folder_in.run_words(overrides, options)
    from slipway.config.hydra_app import run

    return run(overrides, lambda config: _file(config, options))


def _file(config: RunConfig, options: argparse.Namespace) -> int:
    command = f"import {options.action}"
    path = tensor_file.check(command, Path(options.source))
    if not path.is_file():
        raise UserError(
            command,
            "does not exist" if not path.exists() else "is not a file",
            value=path,
            do="name an existing file",
        )
    form = format_of(config, options.action)
    form.check(config)
    plan = plan_of(config)
    beginning.check_place(config.run.dir)

    found = Given(config, form, path)
    imported = Imported(format=options.action, file=path.name, sha256=checksum(path))
    weights = beginning.write(plan, found.parts, found.part, imported)
    print(
        f"imported {path} as {weights}: {len(found.source.shapes)} tensors; the optimizer starts from scratch"
    )
    print(f"taken from the configuration, because the file does not hold it: {form.unknown(config)}")
    for line in found.notes:
        print(line)
    print(
        f"run `slipway train` with the same overrides to continue training it, in any layout: {config.run.dir}"
    )
    return EXIT_DONE


class Given:
    """A file's tensors by their names in the format, checked against what follows from the configuration."""

    def __init__(self, config: RunConfig, form: Format, path: Path) -> None:
        """Compare names, shapes and constants. Raises UserError for the first difference."""
        self.path, self.source = path, _source(path)
        self.notes: list[str] = []
        self.parts = list(form.parts(config))
        self.names = given.renamed(path, form.renamed, self.source.shapes)
        shapes = {name: self.source.shapes[there] for name, there in self.names.items()}
        wanted = given.wanted_of(self.parts)
        _check_sizes(path, config, form.sizes(wanted), form.sizes(shapes))
        constants = form.constants(config)
        given.check_names(
            path, wanted, {n: s for n, s in shapes.items() if n not in constants or n in wanted}
        )
        for name, constant in constants.items():
            if name in shapes:
                self._check_constant(name, constant.shape, shapes[name], constant.values)

    def part(self, part: Part) -> "Tensor":
        """Return the numbers of a part in fp32, in the part's shape. Raises UserError if one is not finite."""
        import torch

        return part.join([self._numbers(name) for name in part.theirs]).to(torch.float32)

    def _numbers(self, name: str) -> "Tensor":
        tensor = self.source.read(self.names[name])
        given.check_numbers(self.path, name, tensor)
        return tensor

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
                f"{name} differs by {off:.1g} from what is computed here, so it would be a different model",
                do="choose the model that the file belongs to",
            )


def _source(path: Path) -> "Source":
    return tensor_file.kind(path).Source(path)


def _check_sizes(path: Path, config: RunConfig, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise UserError, naming all overrides to set, if a field of `model` differs from the file's shapes."""
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
