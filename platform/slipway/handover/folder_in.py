"""`slipway import hf FOLDER run.dir=DIR model=NAME|auto ...`: begin a run with published weights."""

import argparse
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.checkpoint.store import Imported
from slipway.config.schema import RunConfig
from slipway.data.files import checksum
from slipway.errors import EXIT_DONE, UserError
from slipway.handover import beginning, derived, folder, given, tokenizer_in
from slipway.handover.tokenizer_in import Found
from slipway.models.formats import FolderFormat, Part, folder_format_of
from slipway.plan.kept import plan_of
from slipway.run_dir import RunDir

if TYPE_CHECKING:
    from torch import Tensor

TYPES = {"F32": 32, "BF16": 16, "F16": 16}
"""The types whose numbers fp32 holds exactly, by safetensors' names, with their bits."""


def run_words(overrides: Sequence[str], options: argparse.Namespace) -> int:
    """Import a folder as step 0 of the run (see slipway.handover.inward.run_words). Returns the exit code."""
    from slipway.config.hydra_app import run

    source = Path(options.source)
    folder.check(f"import {options.action}", source)
    settings = derived.held(source, folder.settings(source), options.action)
    words, recipe = list(overrides), []
    model: list[str] = []
    if derived.is_auto(words):
        model = derived.derived(source, settings, options.action)
        words, recipe = derived.with_derived(words, model)

    def task(config: RunConfig) -> int:
        return _run(config, source, settings, options.action, model, recipe)

    return run(words, task, trains=False)


def _run(
    config: RunConfig,
    source: Path,
    settings: Mapping[str, Any],
    name: str,
    model: Sequence[str],
    recipe: Sequence[str],
) -> int:
    any_folder = folder_format_of(config, name)
    form = derived.format_for(any_folder, source, settings)
    derived.check_same(config, any_folder, source, settings)
    form.check(config)
    plan = plan_of(config)
    beginning.check_place(config.run.dir)
    tokenizer = tokenizer_in.found(source, settings)
    weights = Given(config, form, source)

    kept = RunDir(config.run.dir).tokenizer
    imported = Imported(format=name, file=source.resolve().name, sha256=_sha256(source, weights))
    path = beginning.write(
        plan, weights.parts, weights.part, imported, lambda: tokenizer_in.keep(tokenizer, kept)
    )
    for line in _said(config, source, path, weights, tokenizer, model, recipe):
        print(line)
    return EXIT_DONE


class Given:
    """A folder's tensors, checked against the tensors that follow from the configuration."""

    def __init__(self, config: RunConfig, form: FolderFormat, source: Path) -> None:
        """Compare names, shapes and types, and read only the numbers that the folder holds twice.

        Raises UserError for the first difference.
        """
        self.path, self.tensors = source, folder.Tensors(source)
        self.parts = list(form.parts(config))
        wanted = given.wanted_of(self.parts)
        self.names = given.renamed(source, form.renamed, self.tensors.shapes)
        shapes = {name: self.tensors.shapes[there] for name, there in self.names.items()}
        twins = {name: form.left_out(config, name) for name in shapes if name not in wanted}
        self.ignored = [self.names[name] for name, twin in twins.items() if twin is not None]
        given.check_names(source, wanted, {n: s for n, s in shapes.items() if twins.get(n) is None})
        self.types = {self._type(name) for name in wanted}
        for name, twin in twins.items():
            if twin and not self.tensors.equal(self.names[name], self.names[twin]):
                raise UserError(
                    self.tensors.file(self.names[name]),
                    f"{name} is not {twin}, but the model shares one table for both and would compute something else",
                    do="set tie_word_embeddings to false in config.json, or use weights that share the table",
                )
        self.rounds = config.training.precision == "bf16" and self.types != {"BF16"}
        self.rounded: set[str] = set()
        self.count, self.numbers = len(wanted), sum(map(prod, wanted.values()))

    def part(self, part: Part) -> "Tensor":
        """Return the numbers of a part in fp32, in the part's shape. Raises UserError if one is not finite."""
        import torch

        theirs = []
        for wanted in part.theirs:
            name = self.names[wanted]
            theirs.append(tensor := self.tensors.read(name))
            given.check_numbers(self.tensors.file(name), name, tensor)
            if self.rounds and not part.buffer and given.is_rounded(tensor, torch.bfloat16):
                self.rounded.add(name)
            del tensor
        ours = part.join(theirs)
        theirs.clear()
        return ours.to(torch.float32)

    def _type(self, name: str) -> str:
        found = self.tensors.type(self.names[name])
        if found not in TYPES:
            raise UserError(
                self.tensors.file(self.names[name]),
                f"{name} is {found}: fp32 cannot represent it exactly, or it is quantized",
                use=", ".join(TYPES),
            )
        return found


def _sha256(source: Path, weights: Given) -> str:
    """Return the SHA-256 of the lines that sha256sum prints for config.json and the files of weights."""
    paths = sorted([source / folder.CONFIG, *weights.tensors.files])
    lines = "".join(f"{checksum(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def _said(
    config: RunConfig,
    source: Path,
    path: Path,
    weights: Given,
    tokenizer: Found,
    model: Sequence[str],
    recipe: Sequence[str],
) -> list[str]:
    kinds = ", ".join(sorted(weights.types))
    lines = [
        f"imported {source} as {path}: {weights.count:,} tensors, {weights.numbers:,} numbers, {kinds}; the "
        "optimizer starts from scratch"
    ]
    if weights.ignored:
        lines.append(f"left out, as they follow from the others: {', '.join(weights.ignored)}")
    if weights.rounded:
        lines.append(
            f"{len(weights.rounded)} tensors hold numbers that bf16 has not: the model computes with the nearest "
            "ones, and the fp32 copies that training updates hold them as they are"
        )
    if model:
        lines.append(f"derived from {source / folder.CONFIG}: {' '.join(map(shlex.quote, model))}")
    if recipe:
        lines.append(
            f"not given, and therefore in plan.json until `slipway train` says more: {' '.join(recipe)}"
        )
    vocabulary = getattr(config.model, "vocab_size", None)
    if vocabulary is not None and tokenizer.entries > vocabulary:
        lines.append(
            f"the tokenizer has {tokenizer.entries:,} entries, and the model {vocabulary:,}: `slipway train` refuses "
            "data that was prepared with it"
        )
    kept = RunDir(config.run.dir).tokenizer
    lines.append(f"prepare text for it, and train, with {tokenizer.words(kept)}")
    if tokenizer.end is None:
        lines.append("no token is said to end a text: name one as data.tokenizer.end_of_document")
    rest = " with these overrides in place of model=auto" if model else " with the same overrides"
    lines.append(f"`slipway train`{rest} continues it, in any layout: {config.run.dir}")
    return lines
