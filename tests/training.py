"""What tests of training share: a small model, short names of layouts, the command line, its results."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import warm

RUNNER = Path(__file__).with_name("runner.py")
LIMIT_SECONDS = 600

# a model that eight ranks train in seconds; every size divides by the layouts under test
SMALL = [
    "model=demo",
    "model.num_layers=4",
    "model.hidden_size=64",
    "model.num_attention_heads=4",
    "model.vocab_size=257",
    "model.max_position_embeddings=32",
    "training.global_batch_size=8",
    "training.micro_batch_size=1",
    "validation.steps=0",
    "checkpoint.interval=0",
    "logging.interval=1000",
    "optimizer.lr=1e-3",
    "optimizer.lr_warmup_steps=2",
    # measuring the peak takes a start longer than training eight steps
    "cluster.device.peak_tflops_fp32=0.1",
    "cluster.device.peak_tflops_bf16=0.1",
]

LAYOUT = {
    "tp": "parallelism.tensor_model_parallel_size",
    "pp": "parallelism.pipeline_model_parallel_size",
    "vpp": "parallelism.virtual_pipeline_model_parallel_size",
    "cp": "parallelism.context_parallel_size",
    "ep": "parallelism.expert_model_parallel_size",
    "sp": "parallelism.sequence_parallel",
    "distopt": "parallelism.use_distributed_optimizer",
    "grad_overlap": "parallelism.overlap_grad_reduce",
    "param_overlap": "parallelism.overlap_param_gather",
    "ranks": "resources.devices_per_node",
    "recompute": "training.recompute",
    "precision": "training.precision",
    "mbs": "training.micro_batch_size",
}


def layout(**settings: int | str | bool) -> list[str]:
    """Overrides from the short names above."""
    return [f"{LAYOUT[name]}={str(value).lower()}" for name, value in settings.items()]


def told(stderr: str) -> list[str]:
    """Slipway's own lines on standard error, free of tracebacks. Libraries may speak of the machine beside them."""
    assert "Traceback" not in stderr, stderr
    return [line for line in stderr.splitlines() if line.startswith("slipway: ")]


def slipway(*words: str, cwd: Path, timeout: float = 180, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which starts warm (see warm.py)."""
    return warm.run(
        [sys.executable, "-m", "slipway", *words], cwd=cwd, capture_output=True, timeout=timeout, **options
    )


def train_in_one_process(jobs: Sequence[Sequence[str]], codes: Path, runner: Path = RUNNER) -> list[int]:
    """Run several trainings, given as override lists; returns their exit codes, which are written to `codes`.

    runner: the program that runs them, another than runner.py where something is to be seen of them.
    """
    codes.unlink(missing_ok=True)
    done = warm.run(
        [sys.executable, str(runner), str(codes)],
        input=json.dumps(jobs),
        capture_output=True,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout, done.stderr)
    return json.loads(codes.read_text())


def training_lines(run_dir: Path) -> list[dict]:
    """The training lines of a run's metrics.jsonl."""
    return lines_of(run_dir, "train")


def lines_of(run_dir: Path, kind: str) -> list[dict]:
    """The lines of a kind of a run's metrics.jsonl."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]
