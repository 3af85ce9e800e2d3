"""The verb that evaluates checkpoints."""

from pathlib import Path

from slipway.verbs import values
from slipway.verbs.declare import Argument, Option, Verb

EVALUATE = Verb(
    "find out what a run's checkpoints are worth: perplexity on text, or what its model family measures",
    (
        Option("--dir", "where to look for runs (default: runs)", "DIR", Path, Path("runs")),
        Option(
            "--step", "the checkpoints of these steps (default: the newest)", "N,...", values.steps, many=True
        ),
        Option("--every-checkpoint", "all checkpoints that are there, oldest first"),
        Option(
            "--files",
            "text, JSON lines, Parquet, also .gz and .zst: a file, a folder, a pattern; may be given again (default: "
            "the validation split)",
            "FILE",
            values.one,
            many=True,
        ),
        Option("--text-key", "field or column that holds the text (default: text)", "NAME"),
        Option(
            "--context",
            "tokens of a window (default: of files those of a training sample, of tasks what the model can read)",
            "N",
            values.positive,
        ),
        Option(
            "--stride", "tokens that each further window adds (default: the context)", "N", values.positive
        ),
        Option("--limit", "documents of each FILE, source or task, at most", "N", values.positive),
        Option("--end-marks", "count the loss of the mark after each document"),
        Option(
            "--tasks",
            "tasks of lm-evaluation-harness (extra `evaluation`); may be given again",
            "NAME,...",
            values.names,
            many=True,
        ),
        Option("--include-path", "a folder of your own task files (YAML)", "DIR", Path),
        Option("--num-fewshot", "examples before each question (default: the task's)", "N", values.natural),
        Option("--allow-code", "let task files run the code that they name: read it first"),
        Option("--allow-network", "let tasks fetch data over the network"),
        Option("--again", "measure what is known, too"),
        Option("--device", "cpu (default) or cuda", "KIND", choices=("cpu", "cuda")),
        Option(
            "--plan",
            "what a job of `slipway launch --evaluate` carries: its kind of device is used",
            "FILE",
            Path,
        ),
        Option("--json", "print a JSON object for each result, one a line", effect="answers"),
    ),
    Argument("run", "RUN"),
    acts=True,
    notes=lambda: (
        "RUN is a run's directory, its folder's name or its own name, or run.dir=DIR. One process reads checkpoints\n"
        "of any layout. Results stay in the run's directory: what is done is not done again, and `slipway report`\n"
        "shows the curve over training. docs/evaluation.md has the rules."
    ),
    examples="  slipway evaluate run.dir=runs/demo\n"
    "  slipway evaluate run.dir=runs/demo --every-checkpoint --files held-out.jsonl.zst --files notes/\n"
    "  slipway evaluate run.dir=runs/demo --tasks my_questions,my_texts --include-path tasks/",
)
