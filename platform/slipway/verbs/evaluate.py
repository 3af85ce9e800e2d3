"""The verb that evaluates checkpoints."""

from pathlib import Path

from slipway.verbs import values
from slipway.verbs.declare import Argument, Option, Verb

EVALUATE = Verb(
    "measure how good a run's checkpoints are: perplexity on text, tasks, or what its model family measures",
    (
        Option("--dir", "look for runs in DIR (default: runs)", "DIR", Path, Path("runs")),
        Option(
            "--step",
            "measure the checkpoints of these steps (default: the newest)",
            "N,...",
            values.steps,
            many=True,
        ),
        Option("--every-checkpoint", "measure all checkpoints, oldest first"),
        Option(
            "--files",
            "measure on text, JSON lines or Parquet, also .gz "
            "and .zst: a file, a folder, a pattern; may be repeated (default: the validation split)",
            "FILE",
            values.one,
            many=True,
        ),
        Option("--text-key", "read the text from this field or column (default: text)", "NAME"),
        Option(
            "--context",
            "use windows of N tokens (default: those of a training sample for files, all the model reads for tasks)",
            "N",
            values.positive,
        ),
        Option("--stride", "move the window by N tokens (default: the context)", "N", values.positive),
        Option("--limit", "read at most N documents of each FILE, source or task", "N", values.positive),
        Option("--end-marks", "count the loss of the end mark after each document"),
        Option(
            "--tasks",
            "run tasks of lm-evaluation-harness (extra `evaluation`); may be repeated",
            "NAME,...",
            values.names,
            many=True,
        ),
        Option("--include-path", "read your own task files (YAML) from DIR", "DIR", Path),
        Option(
            "--num-fewshot",
            "put N examples before each question (default: as the task says)",
            "N",
            values.natural,
        ),
        Option("--allow-code", "let task files run the code that they name; read that code first"),
        Option("--allow-network", "let tasks fetch data over the network"),
        Option("--again", "measure again what is already measured"),
        Option("--device", "compute on cpu (default) or cuda", "KIND", choices=("cpu", "cuda")),
        Option(
            "--plan",
            "use the kind of device of this plan, as jobs of `slipway launch --evaluate` do",
            "FILE",
            Path,
        ),
        Option("--json", "print a JSON object for each result, one a line", effect="answers"),
    ),
    Argument("run", "RUN"),
    acts=True,
    notes=lambda: (
        "RUN is a run's directory, its folder's name or its own name, or run.dir=DIR. One process reads checkpoints\n"
        "of any layout. Results stay in the run's directory and are not measured again. `slipway report`\n"
        "shows the curve over training. docs/evaluation.md has the rules."
    ),
    examples="  slipway evaluate run.dir=runs/demo\n"
    "  slipway evaluate run.dir=runs/demo --every-checkpoint --files held-out.jsonl.zst --files notes/\n"
    "  slipway evaluate run.dir=runs/demo --tasks my_questions,my_texts --include-path tasks/",
)
