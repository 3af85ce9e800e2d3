"""Spoils the code in many places, one at a time, and asks whether a test notices: `make test-planted`.

Each fault is a small change of the text of a copy of the checkout. The tests that should notice it run there, as every
change runs them. A fault whose text is no longer found ends this at once: it is to be planted anew. Exit code 1 where
a fault goes unnoticed.

    .venv/bin/python tests/planted_faults.py [--area AREA] [--workers 2]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("platform", "conf", "deploy", "containers", "tests", "pyproject.toml", "Dockerfile")
LIMIT = 900.0  # seconds for one fault


@dataclass(frozen=True)
class Fault:
    """A change of a file's text, and the words for pytest of the tests that should fail because of it."""

    area: str
    file: str
    old: str
    new: str
    tests: str

    def plant(self, root: Path) -> None:
        """Change the copy. Raises ValueError where the text is not there exactly once."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.area}: {self.file} holds {text.count(self.old)} times: {self.old}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


SLIPWAY = "platform/slipway"
PARITY = "tests/train/test_parity.py -k"
PARITY_MUON = "tests/train/test_parity_muon.py -k"
LATENT = "tests/train/test_parity_latent.py -k unfused_tp2_sp"
FAULTS = [
    Fault(
        "muon: matrices that tensor-parallel ranks have cut",
        f"{SLIPWAY}/engine/megatron/matrices.py",
        "self.cut = [shard.axis is not None and self.tensor_group.size() > 1 for shard in held]",
        "self.cut = [False for _ in held]",
        f"{PARITY_MUON} [tp4_sp_dp2]",
    ),
    Fault(
        "muon: matrices of several holders",
        f"{SLIPWAY}/engine/megatron/matrices.py",
        "torch.distributed.isend, tensor[start:end], rank",
        "torch.distributed.isend, tensor[: end - start], rank",
        f"{PARITY_MUON} [tp2_pp2_interleaved_dp2_sp_distopt]",
    ),
    Fault(
        "muon: who computes what of replicas",
        f"{SLIPWAY}/engine/megatron/matrices.py",
        "torch.distributed.broadcast(update, rank, self.replicas)",
        "torch.distributed.broadcast(update, members[0], self.replicas)",
        f"{PARITY_MUON} [tp4_sp_dp2]",
    ),
    Fault(
        "muon: gate and up apart",
        f"{SLIPWAY}/models/transformer/matrices.py",
        "block.gates == 2",
        "block.gates == 3",
        "tests/reference/test_muon.py -k plain_pytorch",
    ),
    Fault(
        "muon: matrices that the plan counts",
        f"{SLIPWAY}/models/transformer/counts.py",
        "return Shard(dense - _norms(block), expert)",
        "return Shard(dense, expert)",
        "tests/plan/test_optimizers.py",
    ),
    Fault(
        "latent attention: gradients of whole products under sequence parallelism",
        f"{SLIPWAY}/kernels/linear.py",
        "self.weight.sequence_parallel = config.sequence_parallel",
        "self.weight.sequence_parallel = False",
        LATENT,
    ),
    Fault(
        "latent attention: products down, cut over tensor-parallel ranks",
        f"{SLIPWAY}/models/transformer/latent/spec.py",
        "_module.TELinear = down  #",
        "down, _module.TELinear = up, type('Other', (), {})  #",
        LATENT,
    ),
    Fault(
        "latent attention: tensor parallelism without sequence parallelism",
        f"{SLIPWAY}/models/gpt/rules/latent.py",
        "if tp > 1 and not layout.sequence_parallel:",
        "if tp > 8 and not layout.sequence_parallel:",
        "tests/models/gpt/test_latent.py",
    ),
    Fault(
        "layout: ranks of a grid",
        f"{SLIPWAY}/plan/layout.py",
        "dp, cp = divmod(group, self.cp)",
        "cp, dp = divmod(group, self.dp)",
        "tests/plan/test_layout.py tests/plan/test_layout_megatron.py",
    ),
    Fault(
        "layout: activations of interleaved stages",
        f"{SLIPWAY}/plan/layout.py",
        "warm = 2 * (stages - stage - 1) + (virtual_stages - 1) * stages + 1",
        "warm = 2 * (stages - stage - 1) + (virtual_stages - 1) * stages",
        "tests/plan/test_layout.py tests/plan/test_memory.py",
    ),
    Fault(
        "layout: context-parallel ranks take the tokens of others",
        f"{SLIPWAY}/models/gpt/network.py",
        "positions = local_positions(first.shape[-1] // size, rank, size, first.device)",
        "positions = local_positions(first.shape[-1] // size, size - 1 - rank, size, first.device)",
        f"{PARITY} cp4",
    ),
    Fault(
        "checkpoint: contents are not compared",
        f"{SLIPWAY}/checkpoint/manifest.py",
        "if found != entry.sha256:",
        "if len(found) != len(entry.sha256):",
        "tests/checkpoint/test_store.py",
    ),
    Fault(
        "checkpoint: the oldest good one is taken",
        f"{SLIPWAY}/checkpoint/store.py",
        "for path in reversed(complete(run_dir)):",
        "for path in complete(run_dir):",
        "tests/checkpoint/test_store.py",
    ),
    Fault(
        "ledger: a new blend begins each source anew",
        f"{SLIPWAY}/data/ledger.py",
        "total[name] = total.get(name, 0) + count",
        "total[name] = count",
        "tests/data/test_ledger.py",
    ),
    Fault(
        "guard: a spike is taken into the measure",
        f"{SLIPWAY}/train/guard.py",
        "            wanted = settings.on_spike\n",
        "            self.losses.append(loss)\n            wanted = settings.on_spike\n",
        "tests/train/test_guard.py",
    ),
    Fault(
        "guard: an infinite gradient is let through",
        f"{SLIPWAY}/train/guard.py",
        "if not (isfinite(loss) and isfinite(grad_norm)):",
        "if not isfinite(loss):",
        "tests/train/test_guard.py",
    ),
    Fault(
        "rendering: one rank's end is not every rank's",
        f"{SLIPWAY}/launch/slurm.py",
        '"--kill-on-bad-exit=1"]',
        '"--kill-on-bad-exit=0"]',
        "tests/launch/test_slurm_goldens.py -k whole",
    ),
    Fault(
        "rendering: one site's environment",
        "conf/cluster/lumi_g.yaml",
        "HSA_ENABLE_SDMA: ",
        "HSA_ENABLE_SDMB: ",
        "tests/launch/test_slurm_goldens.py -k lumi",
    ),
    Fault(
        "rendering: one kind of manifest has a field that Kubernetes does not know",
        f"{SLIPWAY}/launch/kubernetes/pod.py",
        '"restartPolicy"',
        '"restartPolicies"',
        "tests/launch/test_kubernetes.py -k valid",
    ),
    Fault(
        "quoting: a word of the shell is taken as it is",
        f"{SLIPWAY}/launch/templates.py",
        "lambda value: shlex.quote(str(value))",
        "lambda value: str(value)",
        "tests/launch/test_quoting.py -k everywhere",
    ),
    Fault(
        "plan: the fp32 copy of parameters is forgotten",
        f"{SLIPWAY}/plan/keeps.py",
        "copies = each == 2 or config.",
        "copies = config.",
        "tests/plan/test_memory.py",
    ),
    Fault(
        "doctor: the checkpoint that is being written needs no room",
        f"{SLIPWAY}/doctor/checks/storage.py",
        "count = (config.checkpoint.keep_last or 1) + 1",
        "count = config.checkpoint.keep_last or 1",
        "tests/doctor/checks/test_storage.py",
    ),
    Fault(
        "data: finished blocks are encoded again",
        f"{SLIPWAY}/data/text/preparation.py",
        "found = read_counts(shard, dtype)",
        "found = None",
        "tests/data/text/test_preparation.py -k killed",
    ),
    Fault(
        "data: the shuffle repeats samples",
        f"{SLIPWAY}/data/permutation.py",
        "if number < size:",
        "if (number := number % size) < size:",
        "tests/data/test_permutation.py",
    ),
    Fault(
        "report: rates are means, which one slow step spoils",
        f"{SLIPWAY}/report/summary.py",
        "return median(values) if values else None",
        "return fmean(values) if values else None",
        "tests/report/test_summary.py",
    ),
    Fault(
        "throughput: all ranks' work counts as one device's",
        f"{SLIPWAY}/train/throughput.py",
        "(plan.flops_per_step - left_out) / seconds / plan.world_size / 1e12",
        "(plan.flops_per_step - left_out) / seconds / 1e12",
        "tests/train/test_throughput.py",
    ),
    Fault(
        "throughput: what attention does not compute between documents counts",
        f"{SLIPWAY}/train/throughput.py",
        "sample.attention_flops * (1 - attended)",
        "sample.attention_flops * 0",
        "tests/train/test_throughput.py",
    ),
    Fault(
        "peak: what others did on the machine lowers it",
        f"{SLIPWAY}/train/peak.py",
        "together.max().item()",
        "together.mean().item()",
        "tests/train/test_peak.py",
    ),
    Fault(
        "sweep: the first value of a key that is given twice counts",
        f"{SLIPWAY}/config/sweep_compose.py",
        'alternatives[key] = [f"{key}={override.get_value_element_as_str()}"]',
        'alternatives.setdefault(key, [f"{key}={override.get_value_element_as_str()}"])',
        "tests/config/test_sweep_compose.py",
    ),
    Fault(
        "secrets: a token in the form of Hugging Face's passes",
        f"{SLIPWAY}/secret_forms.py",
        'r"(?:hf|api_org)_(?:',
        'r"(?:hg|api_org)_(?:',
        "tests/test_secrets.py -k 'form or string'",
    ),
]


def copy(target: Path) -> Path:
    """What the tests need, to be spoilt."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    if (beside := ROOT.parent / "shared").exists():  # schemas of custom resources
        (target.parent / "shared").symlink_to(beside.resolve())
    return target


def run(root: Path, words: str) -> tuple[int, str]:
    """Run tests in a copy; pytest's exit code and its output."""
    command = f"{sys.executable} -m pytest -x -q --strict-config -p no:cacheprovider {words}"
    environment = os.environ | {"PYTHONPATH": str(root / "platform"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, shell=True, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    return done.returncode, done.stdout + done.stderr


def verdict(fault: Fault, root: Path) -> tuple[bool, str]:
    """Whether a test notices the fault, and which; the copy is whole again afterwards."""
    path = root / fault.file
    before = path.read_bytes()
    fault.plant(root)
    try:
        code, output = run(root, fault.tests)
    except subprocess.TimeoutExpired:
        return False, f"no answer within {LIMIT:.0f} s"
    finally:
        path.write_bytes(before)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+(?: \S+)*?)(?: - .*)?$", output, re.MULTILINE)
    if code == 1 and failed:
        return True, failed[0]
    return False, output.strip().splitlines()[-1]


def main() -> int:
    """Plant them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--area", default="", help="only faults whose area begins so")
    parser.add_argument("--workers", type=int, default=2, help="copies that are spoilt side by side (2)")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if fault.area.startswith(options.area)]
    with tempfile.TemporaryDirectory(prefix="slipway-planted-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.workers):
            copies.put(copy(Path(folder) / str(number) / "slipway"))
        root = copies.get()
        for fault in faults:  # before anything runs: what is not found is to be planted anew
            before = (root / fault.file).read_bytes()
            fault.plant(root)
            (root / fault.file).write_bytes(before)
        copies.put(root)

        def sound(words: str) -> tuple[str, int, str]:
            root = copies.get()
            try:
                return words, *run(root, words)
            finally:
                copies.put(root)

        def one(fault: Fault) -> bool:
            root, started = copies.get(), time.monotonic()
            try:
                caught, by = verdict(fault, root)
            finally:
                copies.put(root)
            word = "caught" if caught else "NOT CAUGHT"
            print(f"{word}: {fault.area}\n    {by} ({time.monotonic() - started:.0f} s)", flush=True)
            return caught

        with ThreadPoolExecutor(options.workers) as pool:
            broken = []
            for words, code, output in pool.map(sound, dict.fromkeys(fault.tests for fault in faults)):
                if code != 0 or " passed" not in output:  # then a failure shows nothing
                    print(f"fails without any fault: {words}\n{output[-1000:]}", flush=True)
                    broken.append(words)
            judged = [fault for fault in faults if fault.tests not in broken]
            caught = list(pool.map(one, judged))
    print(f"{sum(caught)} of {len(faults)} planted faults are caught")
    return 0 if sum(caught) == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
