"""`slipway proposal`: writes the technical part of an application, and lists what is still missing in it."""

import argparse
from pathlib import Path

import yaml

from slipway.bench.options import at_least, make_folder
from slipway.bench.scaling import table
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.files import write_whole
from slipway.plan import make_plan
from slipway.proposal import access, content, markdown
from slipway.proposal.time import computer_time
from slipway.words import figure, size

NAME = "proposal"


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Write proposal.md, proposal.pdf and the plot, and return the exit code.

    Raises UserError, before anything is written, for a bad option or answer, or if the plan does not fit into memory.
    """
    at_least("proposal --runs", options.runs, 1)
    if not 0 <= options.reserve <= 100:
        raise UserError(
            "proposal --reserve",
            "is not between 0 and 100 per cent",
            value=options.reserve,
            do="give a number from 0 to 100",
        )
    measurement = table.read(options.scaling)
    answers = read_answers(options.answers) if options.answers else {}
    plan = make_plan(config)
    if plan.memory.fits is False and plan.memory.device is not None:
        raise UserError(
            "proposal",
            f"{size(plan.memory.largest)} on the fullest device are more than its {size(plan.memory.device)}: this "
            "plan cannot run",
            do="change it until `slipway plan` shows that it fits",
        )
    time = computer_time(plan, measurement, options.runs, options.reserve)
    picture = options.out / "scaling.png"
    document = content.compose(
        content.Request(plan, measurement, time, access.read(), options.runs, picture, answers)
    )
    if options.answers:
        document.check_answers(options.answers)
    make_folder("proposal --out", options.out)

    from slipway.bench.scaling.picture import draw
    from slipway.proposal import pdf

    draw(measurement.rows, measurement.summary, measurement.record, picture)
    written = [options.out / f"{NAME}.md", options.out / f"{NAME}.pdf"]
    write_whole(written[0], markdown.render(document))
    pdf.write(document, written[1])
    print(f"written   {written[0]}, {written[1]}, {picture}")
    print(f"asks for  {figure(time.device_hours)} device-hours: {time.arithmetic}")
    for gap in document.gaps:
        print(f"missing   {gap.number}. {gap.name}: {gap.what}")
    if document.gaps:
        print("fill in   --answers FILE, a YAML file of NAME: text, or the Markdown")
    return EXIT_DONE


def read_answers(path: Path) -> dict[str, str]:
    """Return the names and texts in a YAML file. Raises UserError if it cannot be read or holds anything else."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            path, f"cannot be read: {error.strerror}", do="make it readable, or name another file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            path, f"is not YAML: {' '.join(str(error).split())[:200]}", do="correct it"
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(text, str) for pair in found.items() for text in pair
    ):
        raise UserError(path, "is not a mapping of names to texts", use="title: text, one for each gap")
    return found
