"""The verb that generates text with a run's model."""

from slipway.verbs import values
from slipway.verbs.declare import Argument, Option, Verb

GENERATE = Verb(
    "let the model of a run's checkpoint continue a text",
    (
        Option("--step", "the checkpoint of this step (default: the newest good one)", "N", values.natural),
        Option("--tokens", "how many follow at most (default: 100)", "N", values.positive, 100),
        Option(
            "--temperature",
            "draw tokens by chance: 1 from the model's own distribution, below 1 closer to the most likely one "
            "(default: always the most likely one)",
            "T",
            values.above_zero,
        ),
        Option(
            "--top-p",
            "with --temperature: only from the most likely tokens that together have this probability",
            "P",
            values.share,
        ),
        Option(
            "--top-k", "with --temperature: only from so many of the most likely tokens", "K", values.positive
        ),
        Option(
            "--seed",
            "with --temperature: of the chance; the same seed, the same text (default: 0)",
            "N",
            values.natural,
        ),
        Option("--device", "cpu (default) or cuda", "KIND", default="cpu", choices=("cpu", "cuda")),
        Option(
            "--chat", "TEXT is what a user says: the run's chat template writes it, and the answer follows"
        ),
        Option("--json", "print a JSON object for each text, one a line", effect="answers"),
    ),
    Argument("texts", "TEXT", least=0, most=None, text=True),
    takes="run",
    notes=lambda: (
        "TEXT is what the model continues; several are read together, `-` is standard input. Without any, on a\n"
        "terminal, lines that are typed. A text ends with the token that ends documents, or after --tokens.\n"
        "The configuration is the run's own plan.json; one process reads a checkpoint of any layout.\n"
        "docs/generate.md has the rules, docs/chat.md those of --chat."
    ),
    examples="  slipway generate run.dir=runs/demo 'def main('\n"
    "  slipway generate run.dir=runs/demo --temperature 0.8 --top-p 0.95 --seed 7 --tokens 200 'import os'\n"
    "  slipway generate run.dir=runs/demo --step 100 --json - < prompt.txt",
)
