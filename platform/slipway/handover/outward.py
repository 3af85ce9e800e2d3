"""`slipway export FORMAT run.dir=DIR to=...`: write a checkpoint's weights in the form of another library."""

import argparse

from slipway import files
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.handover import tensor_file
from slipway.handover.progress import Progress
from slipway.handover.weights import Weights
from slipway.models.formats import format_of
from slipway.runs import chosen


def run(options: argparse.Namespace) -> int:
    """Export the run in `run_dir`. Returns the exit code; raises UserError if `to` is missing.

    Options: `action`, the format; `to`; `step`; `precision`; those of a folder.
    """
    command = f"export {options.action}"
    if options.to is None:
        raise UserError(
            f"{command} to", "is missing", use=f"to={'FOLDER' if _is_folder(options) else 'FILE'}"
        )
    config = chosen.trained(options.run_dir)
    if _is_folder(options):
        from slipway.handover import folder_out

        return folder_out.run(config, options, command)
    return _file(config, options, command)


def _is_folder(options: argparse.Namespace) -> bool:
    return hasattr(options, "shard_size")


def _file(config: RunConfig, options: argparse.Namespace, command: str) -> int:
    target = tensor_file.check(f"{command} to", options.to)
    chosen.check_absent(f"{command} to", target)
    form = format_of(config, options.action)
    form.check(config)
    path, info = chosen.checkpoint(config, options.step, command)
    files.make_folder(target.absolute().parent)

    parts, precision = list(form.parts(config)), options.precision or "fp32"
    weights = Weights(config, parts, path, precision, command, form.constants(config))
    progress = Progress("export", len(weights.shapes))
    with files.whole(target) as beside:
        tensor_file.kind(target).write(beside, weights.shapes, weights.dtypes, progress.of(weights.tensors()))
    print(f"exported step {info.step:,} of {config.run.dir} to {target}: {weights.described()}")
    print(
        f"{form.library} loads it with (docs/{options.action}.md)\n{form.usage(config, str(target.absolute()))}"
    )
    return EXIT_DONE
