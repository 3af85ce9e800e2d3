"""`slipway evaluate RUN`: measure checkpoints and keep the results in the run directory; known results stay."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from slipway import files
from slipway.checkpoint import store
from slipway.errors import EXIT_DONE, Fault, UserError
from slipway.evaluate import checkpoints
from slipway.evaluate.choice import in_windows, measurements, wanted
from slipway.evaluate.measurement import Measurement, Subject
from slipway.evaluate.progress import Progress
from slipway.evaluate.show import show
from slipway.metrics import evaluations
from slipway.models.evaluation import Result
from slipway.plan import plan_file
from slipway.run_dir import RunDir
from slipway.runs.alone import Kind, World, alone, world
from slipway.runs.chosen import trained
from slipway.runs.find import folders


def run(options: argparse.Namespace) -> int:
    """Measure everything that was asked for on each checkpoint, oldest first. Returns the exit code."""
    (folder,) = folders([options.run], options.dir, "evaluate")
    config = in_windows(alone(trained(folder), _device(options)), wanted(options))
    paths = checkpoints.chosen(folder, options.step, options.every_checkpoint)
    asked = measurements(config, options)
    found, _ = evaluations.found(folder)
    with ExitStack() as stack:
        here: World | None = None
        for path in paths:
            step, identity = store.step_of(path), checkpoints.identity(path)
            known = {
                one.title: result
                for one in asked
                if not options.again and (result := checkpoints.known(found, one.settings, step, identity))
            }
            for title in known:
                print(
                    f"step {step:,}, {title}: already measured; measure it again with --again",
                    file=sys.stderr,
                )
            if len(known) < len(asked):
                checkpoints.verify(path)
                here = here or stack.enter_context(world(config))
            _measure(folder, path, identity, asked, known, here, options.json)
    return EXIT_DONE


def _device(options: argparse.Namespace) -> Kind:
    """Return the kind of device that --device or the job's plan names, else cpu. Raises UserError if both name one."""
    if options.plan is None:
        return options.device or "cpu"
    if options.device:
        raise UserError(
            "evaluate --device", "is in the job's plan", value=options.device, do="omit it, or --plan"
        )
    return plan_file.read_config(options.plan).cluster.device.kind


def _measure(
    folder: Path,
    checkpoint: Path,
    identity: str,
    asked: Sequence[Measurement],
    known: dict[str, Result],
    here: World | None,
    as_json: bool,
) -> None:
    """Measure and store what is not known yet of one checkpoint, and show all of its results."""
    step, subject = store.step_of(checkpoint), None
    for one in asked:
        if (result := known.get(one.title)) is None:
            assert here is not None
            subject = subject or Subject(step, checkpoint, here.rank(checkpoint), here)
            result = one.of(subject, Progress(one.title, step)).model_copy(update={"checkpoint": identity})
            _keep(folder, result)
        path = evaluations.path(folder, result)
        if as_json:
            print(json.dumps({**result.model_dump(mode="json"), "file": str(path)}), flush=True)
        else:
            show(result, path)


def _keep(folder: Path, result: Result) -> None:
    try:
        evaluations.write(folder, result)
    except OSError as error:
        raise Fault(
            RunDir(folder).evaluations,
            f"cannot be written: {files.reason(error)}",
            do="make it writable and run the same command again",
        ) from error
