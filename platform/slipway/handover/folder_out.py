"""`slipway export hf`: write a checkpoint as a folder that AutoModelForCausalLM and AutoTokenizer load."""

import argparse
from itertools import islice
from pathlib import Path

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE
from slipway.handover import card, record, shards
from slipway.handover.progress import Progress
from slipway.handover.tokenizer_out import as_json, exported
from slipway.handover.weights import Weights
from slipway.handover.whole_folder import whole_folder
from slipway.models.formats import folder_format_of
from slipway.runs import chosen

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def run(config: RunConfig, options: argparse.Namespace, command: str) -> int:
    """Export the checkpoint that the options choose. Returns the exit code.

    Options: `action`, the format; `to`; `step`; `precision`; `shard_size`; `license`; `author`.
    """
    target: Path = options.to
    chosen.check_absent(f"{command} to", target)
    card.check_license(f"{command} --license", options.license)
    form = folder_format_of(config, options.action)
    form.check(config)
    path, info = chosen.checkpoint(config, options.step, command)
    precision = options.precision or config.training.precision
    weights = Weights(config, list(form.parts(config)), path, precision, command)
    longest = getattr(config.model, "max_position_embeddings", None)
    tokenizer = exported(config, info, longest)

    split = shards.shared_out(weights.shapes, weights.nbytes, options.shard_size)
    settings = {
        **form.settings(config, tokenizer.end_of_document),
        "dtype": DTYPES[precision],
        "torch_dtype": DTYPES[precision],  # transformers 4 and its readers
    }
    seen = record.of(config, info, weights.parameters, precision)
    texts = {
        "config.json": as_json(settings),
        "generation_config.json": as_json(
            {"bos_token_id": settings.get("bos_token_id"), "eos_token_id": tokenizer.end_of_document}
        ),
        "README.md": card.render(seen, settings, options.license, options.author).encode(),
        **tokenizer.contents,
    }
    if len(split) > 1:
        texts[shards.INDEX] = as_json(shards.index(split, weights.nbytes))

    with whole_folder(target) as beside:
        _write_weights(beside, weights, split)
        for name, content in texts.items():
            (beside / name).write_bytes(content)
    print(
        f"exported step {info.step:,} of {config.run.dir} to {target}: {weights.described()}, in {len(split)} "
        f"file{'s' if len(split) > 1 else ''}"
    )
    if not options.license:
        print(f"{target / 'README.md'} names no licence; set it with --license ID")
    print(f"{form.library} loads it with (docs/huggingface.md)\n{form.usage(config, str(target.absolute()))}")
    return EXIT_DONE


def _write_weights(folder: Path, weights: Weights, split: dict[str, dict[str, tuple[int, ...]]]) -> None:
    from slipway.handover import safetensors_file

    tensors = Progress("export", len(weights.shapes)).of(weights.tensors())
    for name, shapes in split.items():
        safetensors_file.write(folder / name, shapes, weights.dtypes, islice(tensors, len(shapes)))
