"""The benchmarks: `slipway bench NAME`."""

from pathlib import Path

from slipway.verbs import values
from slipway.verbs.declare import Argument, Option, Verb
from slipway.verbs.unconfigured import CONTEXT, ENGINE, VARIANT

FOLDER = Path("outputs/bench")

_JSON = Option("--json", "print one JSON object", effect="answers")
_OUT = Option(
    "--out",
    f"folder for the JSON and the picture (default: {FOLDER} in the current folder)",
    "DIR",
    Path,
    FOLDER,
)
_REPEAT = Option("--repeat", "measure each N times (default 3)", "N", int, 3)
_OVERRIDES = Argument("overrides", "override", least=0, most=None)


def _gpu() -> str:
    return """\
Each part runs in a process of its own with a limit of its own, and its result is a file as soon as it is there:
  parts/NAME.json     what it has found: checks, figures, goals
  logs/NAME.log       what it has said; the folder of one that failed stays below work/
  bench-gpu.json, bench-gpu.md, bench-gpu.png     all results together: for programs, for a document, as a picture
It needs this package and a torch that sees a GPU (NVIDIA or AMD), no network and no container.
Exit code 0: every part has passed; 1: one failed or took too long; 75: the time is over: run the
same command to continue.
Goals (60% of the matmul ceiling, 1.05 of torch.compile) are reported as reached or not, and do not fail."""


def _scaling() -> str:
    return """\
training.global_batch_size is the smallest size's, and for strong scaling all sizes'. What devices grow by goes to data
parallelism; all other sizes of the layout stay as configured. What does not divide is refused before anything runs.
What is measured is not measured again: after an interruption, run the same command to continue.
On a cluster with a scheduler it prints the jobs; with --submit it submits them, and once they have run, --collect shows
what they measured:
  NODESxDEVICES-batchN/repeatR/     each measurement's plan.json, bench-train.json and, of a job, logs
  bench-scaling.json, bench-scaling.png     all of them together: for programs (and `slipway proposal`), as a picture
Exit code 0: done; 75: stopped by a signal; run the same command to continue."""


def _device() -> str:
    return """\
Times matrix products, attention, memory-bound operators, copies and collectives at many sizes, on as many ranks as
resources.devices_per_node says, all at once. From these it fits the constants of a plan's step and writes them to
device-PRECISION.json; name that file in cluster.device.measured to plan with them instead of those that Slipway has for
the kind of device (docs/planner.md). The table and the picture show how well the constants reproduce the measured
times. It takes about a minute; --check takes about ten more, and writes its results to check/."""


BENCH = Verb(
    "measure this machine against references",
    actions={
        "train": Verb(
            "measure tokens/s and MFU of a configuration on all its ranks, and where a step's time goes",
            (
                Option("--steps", "steps measured, and steps profiled (default 5)", "N", int, 5),
                Option("--warmup", "steps before (default 2)", "N", int, 2),
                Option(
                    "--threads",
                    "use N torch threads in each rank (default: the cores shared between the ranks)",
                    "N",
                    int,
                ),
                Option(
                    "--plan",
                    "measure the plan in a plan.json, as jobs carry it, changed by KEY=JSON words",
                    "FILE",
                    Path,
                ),
                Option(
                    "--out",
                    f"folder for the JSON and the picture (default: {FOLDER}, with --plan the run's)",
                    "DIR",
                    Path,
                ),
                _JSON,
            ),
            _OVERRIDES,
            acts=True,
        ),
        "scaling": Verb(
            "measure speed-up, efficiency and the parts of a step over a growing number of devices, here or as jobs",
            (
                Option(
                    "--ranks",
                    "measure these numbers of devices, such "
                    "as 1,2,4; whole nodes beyond one node (default: doubling up to resources.*)",
                    "N,N,...",
                    values.sizes,
                ),
                Option(
                    "--nodes",
                    "measure these numbers of nodes instead, such as 1,2,4",
                    "N,N,...",
                    values.sizes,
                ),
                Option(
                    "--scaling",
                    "strong: the same global batch at all sizes; weak: it grows with them (default strong,weak)",
                    "KINDS",
                    str,
                    "strong,weak",
                ),
                Option("--repeats", "measure each size N times, in turn (default 3)", "N", int, 3),
                Option(
                    "--steps", "steps measured, and steps profiled, in each repeat (default 5)", "N", int, 5
                ),
                Option("--warmup", "steps before (default 2)", "N", int, 2),
                Option(
                    "--threads",
                    "use N torch threads in each rank on a CPU (default: the cores over the most ranks, for all sizes)",
                    "N",
                    int,
                ),
                Option(
                    "--submit",
                    "submit jobs for what is not measured yet, an array for each size; without it, print them",
                    effect="acts",
                ),
                Option("--collect", "show what is measured, without measuring or submitting anything"),
                Option(
                    "--out",
                    f"folder of the measurements, the JSON and the picture (default: {FOLDER}/scaling)",
                    "DIR",
                    Path,
                ),
                _JSON,
            ),
            _OVERRIDES,
            acts=True,
            notes=_scaling,
            examples="""\
  slipway bench scaling                                        a small model on 1 and 2 ranks of this machine
  slipway bench scaling model=gpt3_125m data=stdlib --ranks 1,2,4 --repeats 5
  slipway bench scaling cluster=juwels_booster launch.account=PROJECT model=gpt3_1_3b --nodes 1,2,4,8
  slipway bench scaling cluster=juwels_booster launch.account=PROJECT model=gpt3_1_3b --nodes 1,2,4,8 --collect""",
        ),
        "kernels": Verb(
            "measure each fused operator and backend at a model's shapes, against the device's ceiling",
            (
                Option("--model", "take the shapes of model=PRESET (default: a small shape)", "PRESET"),
                Option("--operators", "measure these operators, separated by commas (default: all)", "NAMES"),
                Option("--repeat", "take N samples of each (default 10)", "N", int, 10),
                _OUT,
                _JSON,
            ),
            _OVERRIDES,
            acts=True,
        ),
        "compare": Verb(
            "compare one rank's token rate with a plain PyTorch GPT of the same shape, eager and compiled",
            (
                Option("--rounds", "run N turns of each (default 7; the first is warm-up)", "N", int, 7),
                Option("--steps", "take N optimizer steps in a turn (default 4)", "N", int, 4),
                Option("--threads", "torch threads (default: all cores)", "N", int),
                Option(
                    "--references",
                    "compare with these, separated by commas (default: eager,compiled)",
                    "NAMES",
                    str,
                    "eager,compiled",
                ),
                _JSON,
            ),
            _OVERRIDES,
            acts=True,
        ),
        "device": Verb(
            "measure the constants of this machine's devices and links, with which plans estimate time",
            (
                Option("--check", "also train sixteen small layouts and compare each step with its plan"),
                _OUT,
                _JSON,
            ),
            _OVERRIDES,
            acts=True,
            notes=_device,
            examples="""\
  slipway bench device resources.devices_per_node=2            a laptop's ranks share its cores
  slipway bench device resources.devices_per_node=2 --check    and how good plans are with it""",
        ),
        "gpu": Verb(
            "test all of this machine's GPUs: what works, how fast it is against torch.compile, where the time goes",
            (
                Option("--dry-run", "list the parts with their limits; run nothing", effect="answers"),
                Option("--part", "run only these parts, separated by commas (default: all)", "NAMES"),
                Option(
                    "--again",
                    "repeat parts that have passed, and replace results of other devices or versions",
                ),
                Option("--rehearse", "run the same parts with tiny shapes on CPU ranks: minutes on 2 cores"),
                Option(
                    "--minutes",
                    "stop after M minutes (default 8); "
                    "the parts' limits grow with it, and the next call runs the rest",
                    "M",
                    float,
                    8.0,
                ),
                Option(
                    "--out",
                    f"folder of the results (default: {FOLDER}/gpu, for a rehearsal {FOLDER}/gpu-rehearsal)",
                    "DIR",
                    Path,
                ),
                _JSON,
            ),
            acts=True,
            notes=_gpu,
            examples="""\
  slipway bench gpu --dry-run                         which parts there are
  slipway bench gpu                                   all of them; again: what is left, and what has failed
  slipway bench gpu --part kernels,losses --again     these anew
  slipway bench gpu --rehearse                        on a machine without a GPU""",
        ),
        "data": Verb(
            "measure how fast text is prepared and chips of imagery are read, against the usual ways",
            (
                Option(
                    "--kind",
                    "text: tokens/s per core of `slipway data` against one document at a time (default); imagery: "
                    "processor time per chip against GeoTIFFs and webdataset",
                    "KIND",
                    str,
                    "text",
                    ("text", "imagery"),
                ),
                Option(
                    "--input",
                    "text: file or folder (default: the standard library's source)",
                    "PATH",
                    str,
                    "stdlib",
                ),
                Option("--text-key", "text: of JSON lines or Parquet (default: text)", "KEY", str, "text"),
                Option("--megabytes", "text: most that is read (default 16)", "MB", float, 16.0),
                Option(
                    "--tokenizer",
                    "text: gpt2 (default), llama3, qwen, gpt_neox or o200k, with a vocabulary that is trained on the "
                    "text; or a tokenizer.json",
                    "NAME|FILE",
                    str,
                    "gpt2",
                ),
                Option(
                    "--end-of-document",
                    "text: the token of that file that ends a document (default: <|endoftext|>)",
                    "TOKEN",
                    str,
                    "<|endoftext|>",
                ),
                Option("--vocab-size", "text: entries to train (default 8192)", "N", int, 8192),
                Option(
                    "--chips",
                    "imagery: chips of 2.4 MB that are read (default 64), or some more",
                    "N",
                    int,
                    64,
                ),
                Option("--dir", "imagery: write into DIR (default: the temporary folder)", "DIR", Path),
                Option("--rounds", "run N turns of each (default 3)", "N", int, 3),
                _JSON,
            ),
            acts=True,
        ),
        "checkpoint": Verb(
            "measure how long a checkpoint blocks training, written in the background or in the foreground",
            (
                Option("--rounds", "save N times in each way (default 5, after a warm-up)", "N", int, 5),
                Option("--dir", "write into DIR (default: the temporary folder)", "DIR", Path),
                _JSON,
            ),
            _OVERRIDES,
            acts=True,
        ),
        "image": Verb(
            "measure the container image's size, a cached rebuild, and the start of a command in Apptainer",
            (
                VARIANT,
                Option("--tag", "measure this built image (default: slipway:VARIANT)", "NAME"),
                Option("--sif", "measure this SIF (default: dist/image/slipway-VARIANT.sif)", "FILE", Path),
                ENGINE,
                CONTEXT,
                _REPEAT,
                _JSON,
            ),
            acts=True,
        ),
        "launch": Verb(
            "measure the seconds to plan and render the largest runs, and a sweep of a thousand jobs",
            (_REPEAT, Option("--jobs", "put N jobs into the sweep (default 1,000)", "N", int, 1000), _JSON),
            acts=True,
        ),
        "startup": Verb(
            "measure the seconds from a command to its answer, and to the first training step of the demo",
            (_REPEAT, _JSON),
            _OVERRIDES,
            acts=True,
        ),
    },
    examples="  slipway bench train model=gpt3_125m\n  slipway bench compare --json",
)
