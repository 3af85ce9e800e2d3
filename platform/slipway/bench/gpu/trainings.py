"""Several trainings in one process, which imports torch once; each forks its own ranks.

`python -m slipway.bench.gpu.trainings FILE.jobs`: reads {"jobs": [[override, ...], ...], "deterministic": bool,
"spoil": null or {"what": WHAT, "number": N}} from the file, and writes the jobs' exit codes into FILE.codes.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway import files
from slipway.bench.gpu.device import environment
from slipway.errors import EXIT_FAULT, EXIT_USER_ERROR, Fault, Problem, UserError
from slipway.metrics import file as metrics_file
from slipway.ranks.local import die_with
from slipway.run_dir import RunDir

SOURCES = (
    "decoder",
    "encoder",
    "scanner",
)  # modules of the standard library's package json: text that every machine has
# leave out costs of a run that are not under test: measuring a peak takes a quarter of a second
PLAIN = [
    "training.global_batch_size=8",
    "validation.steps=0",
    "checkpoint.interval=0",
    "logging.interval=1000",
    "optimizer.lr=1e-3",
    "optimizer.lr_warmup_steps=2",
    "cluster.device.peak_tflops_fp32=1",
    "cluster.device.peak_tflops_bf16=1",
]
# torch uses deterministic algorithms if it has some; cuBLAS and Transformer Engine take these variables
DETERMINISTIC = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "NVTE_ALLOW_NONDETERMINISTIC_ALGO": "0"}
NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}


class Batch:
    """Trainings that were started together; `codes` waits for their end."""

    def __init__(
        self,
        jobs: Mapping[str, Sequence[str]],
        folder: Path,
        *,
        deterministic: bool = False,
        spoil: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start the trainings, one after the other.

        Args:
            jobs: Overrides of each by its name, which is its run directory's below `folder`.
            folder: Where they run, and where their output is kept.
            deterministic: With algorithms that give the same result each time.
            spoil: What is to go wrong in each: {"what": see slipway.bench.gpu.spoil, "number": of the sample}.
            variables: More for the environment.
        """
        self.names = list(jobs)
        words = [[*overrides, f"run.dir={name}"] for name, overrides in jobs.items()]
        asked = {"jobs": words, "deterministic": deterministic, "spoil": spoil}
        more = (DETERMINISTIC if deterministic else {}) | dict(variables or {})
        self.file = folder / f"{self.names[0]}.jobs"
        self.file.write_text(json.dumps(asked), encoding="utf-8")
        _codes_of(self.file).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "slipway.bench.gpu.trainings", str(self.file)],
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=environment() | more,
        )

    def codes(self) -> dict[str, int]:
        """Wait for all trainings and return their exit codes by name. Raises Fault if their process wrote none."""
        code = self.process.wait()
        try:
            codes = json.loads(_codes_of(self.file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise Fault(
                "trainings",
                f"exited with code {code} without a result",
                do="see its output above, and run it again",
            ) from None
        return dict(zip(self.names, codes, strict=True))


def _codes_of(jobs: Path) -> Path:
    return jobs.with_suffix(".codes")


def lines(run_dir: Path, kind: str = "train") -> list[dict[str, Any]]:
    """Return the records of a kind in a run's metrics.jsonl."""
    records = metrics_file.read(RunDir(run_dir).metrics).records
    return [record for record in records if record["kind"] == kind]


def corpus(folder: str = "data") -> list[str]:
    """Return overrides for a small text of bytes, which the first training that names this folder prepares there."""
    modules = [Path(json.__file__).with_name(f"{name}.py") for name in SOURCES]
    modules += [Path(subprocess.__file__), Path(threading.__file__)]
    return [
        "data=files",
        f"data.sources.files.inputs=[{','.join(map(str, modules))}]",
        "data.tokenizer.kind=byte",
        f"data.dir={folder}",
        "model.vocab_size=257",
    ]


def _main() -> None:
    die_with(os.getppid())
    file = Path(sys.argv[1])
    asked = json.loads(file.read_text(encoding="utf-8"))
    if asked["deterministic"]:
        _be_deterministic()
    if asked["spoil"]:
        from slipway.bench.gpu.spoil import spoil

        spoil(**asked["spoil"])
    codes = [_train(words) for words in asked["jobs"]]
    files.write_whole(_codes_of(file), json.dumps(codes))


def _train(words: Sequence[str]) -> int:
    from slipway.config.compose import compose
    from slipway.train.command import run

    try:
        return run(compose(list(words)))
    except Problem as error:
        print(f"slipway: {error}", flush=True)
        return EXIT_USER_ERROR if isinstance(error, UserError) else EXIT_FAULT


def _be_deterministic() -> None:
    from slipway.engine.runtime import wait_without_spinning

    wait_without_spinning()  # before torch is imported, as the trainer does
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


if __name__ == "__main__":
    _main()
