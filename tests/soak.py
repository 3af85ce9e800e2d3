"""Disturb trainings at random, again and again, and hold each one's curve against the undisturbed one's.

    make soak MINUTES=30           or: .venv/bin/python tests/soak.py --minutes 30 [--seed 1] [--workers 2]

Each run is killed, stopped, paused, cut off from power and met by failing file systems at moments drawn by a seeded
die, over several layouts and both ways of saving, and started again each time. After every start:
  - nothing that people see is a traceback, and the exit code is one that docs/faults.md knows;
  - no checkpoint that was good is gone or spoilt, but for those that checkpoint.keep_last lets go;
  - the start goes on from the newest good checkpoint.
At the end an undisturbed start finishes the run, and every step's loss, gradient norm and samples must equal, bit for
bit, those of a run that nobody touched. Exit code 1 where anything differs; what failed is kept and named.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))

import power
from faulty_files import faulty, struck
from slipway.checkpoint import store
from soak_faults import Disturbance, draw
from training import SMALL, layout, training_lines

STEPS = 120
SLICE = 30  # steps of a start that meets a fault of the file system
LIMIT = 300.0  # seconds for one start; what takes longer hangs
MOST_ROUNDS = 1000  # time ends before
EXACT = ("step", "loss", "grad_norm", "learning_rate", "consumed_samples")
ENDS = {0, 1, 2, 75, 130, 137, -signal.SIGKILL, -signal.SIGHUP, 128 + signal.SIGKILL}
LAYOUTS = {
    "one rank": layout(ranks=1),
    "TP2": layout(ranks=2, tp=2, sp=True),
    "PP2": layout(ranks=2, pp=2),
    "DP2, distributed optimizer": layout(ranks=2, distopt=True),
}
SETTINGS = [
    *SMALL,
    "model.num_layers=2",
    f"training.steps={STEPS}",
    "checkpoint.interval=4",
    "checkpoint.timeout_minutes=1",
    "watch.straggler_interval=0",
    "model.hidden_dropout=0.1",
]


@dataclass
class Tally:
    """What one run went through."""

    layout: str
    saving: str
    starts: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """Disturbances that struck."""
    missed: int = 0
    """Disturbances whose moment did not come."""
    power_cuts: int = 0
    repeated: int = 0
    """Steps done again after a disturbance."""
    failures: list[str] = field(default_factory=list)


class Run:
    """One run of one layout and one way of saving, from its first start to the comparison."""

    def __init__(
        self, name: str, layout: str, asynchronous: bool, corpus: list[str], folder: Path, seed: int
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.dice = random.Random(seed)
        self.tally = Tally(layout, "beside training" if asynchronous else "training waits")
        self.keep = self.dice.choice((None, 3))
        self.image = self.folder / "image"
        self.mount = self.folder / "disk"
        self.run_dir = self.mount / "run"
        self.words = [*SETTINGS, *LAYOUTS[layout], *corpus, f"run.dir={self.run_dir}"]
        self.words += [f"checkpoint.async_save={str(asynchronous).lower()}"]
        self.words += [f"checkpoint.keep_last={'null' if self.keep is None else self.keep}"]

    def whole(self) -> list[list[object]]:
        """The curve of a run that nobody touches."""
        done = self._start(Disturbance("none"), undisturbed=True)
        assert done == 0, (self.folder / "output.txt").read_text()
        return curve(self.run_dir)

    def disturb(self, times: int, until: float, expected: list[list[object]]) -> Tally:
        """Disturb it that often at most, and not after `until` (time.monotonic); then finish and compare."""
        with ExitStack() as stack:
            can_cut = power.possible()
            disk = self._disk(stack) if can_cut else None
            for _ in range(times):
                if time.monotonic() > until or self._done() or self.tally.failures:
                    break
                disturbance = draw(self.dice, self.run_dir, can_cut)
                before = self._good()
                self._start(disturbance)
                if disturbance.power_cut and (self.folder / "after-cut").exists():
                    assert disk is not None
                    disk.close()
                    (self.folder / "after-cut").replace(self.image)
                    disk = self._disk(stack)
                self._compare_checkpoints(before, disturbance)
            for _ in range(3):  # a refusal of an unreadable disk may have left the run at any point
                if (
                    not self._done()
                    and not self.tally.failures
                    and self._start(Disturbance("none"), undisturbed=True) == 0
                ):
                    break
            self._compare(expected)
        return self.tally

    def _disk(self, stack: ExitStack) -> ExitStack:
        if not self.image.exists():
            power.make(self.image, 192)
        inner = stack.enter_context(ExitStack())
        inner.enter_context(power.mounted(self.image, self.mount))
        return inner

    def _start(self, disturbance: Disturbance, undisturbed: bool = False) -> int:
        """One start with what happens to it; returns the exit code."""
        tally = self.tally
        tally.starts += 1
        log, counts = self.folder / "struck", self.folder / "counts"
        for file in (log, counts):
            file.unlink(missing_ok=True)
        environment = dict(os.environ)
        if disturbance.rules:
            environment |= faulty(disturbance.rules, log, counts)
        good, lines = self._good(), self._lines()
        # a fault that ends nothing is to leave steps for others
        until = min(STEPS, (good or [0])[-1] + SLICE)
        stop = [f"training.stop_after_step={until}"] if disturbance.rules else []
        with (self.folder / "output.txt").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "slipway", "train", *self.words, *stop],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            try:
                acted = self._act(process, disturbance)
                code = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                tally.failures.append(f"{disturbance.kind}: no end after {LIMIT:.0f} s")
                acted, code = False, -signal.SIGKILL
            finally:
                _end_group(process)
        if not undisturbed:
            if acted or struck(log):
                tally.kinds[disturbance.kind] += 1
            else:
                tally.missed += 1
        self._judge(disturbance, code, good, lines, undisturbed)
        return code

    def _act(self, process: subprocess.Popen[bytes], disturbance: Disturbance) -> bool:
        """Wait for the moment and act; whether that was possible."""
        if disturbance.act is None and not disturbance.power_cut:
            return False
        since, limit = time.time(), time.monotonic() + LIMIT
        while not self._stepped(since) or (disturbance.in_save and not self._saving()):
            if process.poll() is not None or time.monotonic() > limit:
                return False
            time.sleep(0.005)
        time.sleep(disturbance.after)
        if process.poll() is not None:
            return False
        try:
            command = psutil.Process(process.pid)
            processes = [command, *sorted(command.children(), key=lambda p: p.pid)]
        except psutil.NoSuchProcess:
            return False
        if len(processes) == 1:  # its ranks have just ended
            return False
        if disturbance.act is not None:
            disturbance.act(processes)
            return True
        with power.standing_still(processes):
            power.cut(self.image, self.folder / "after-cut")
            self.tally.power_cuts += 1
            for one in processes:
                one.kill()
        return True

    def _judge(
        self, disturbance: Disturbance, code: int, good: list[int], lines: int, undisturbed: bool
    ) -> None:
        output = (self.folder / "output.txt").read_text(errors="replace")
        say = self.tally.failures.append
        if "Traceback" in output:
            say(f"{disturbance.kind}: a traceback: {output[-1500:]}")
        if code not in ENDS or (undisturbed and code != 0):
            say(f"{disturbance.kind}: ended with {code}: {output[-1500:]}")
        began = self._began_at()
        newest = good[-1] if good else 0
        if began is not None and began < newest and not disturbance.rules:
            say(f"{disturbance.kind}: went on from step {began}, though that of step {newest} was good")
        if began is not None:
            self.tally.repeated += max(0, lines - began)

    def _began_at(self) -> int | None:
        """The step from which the last start that got so far went on; None: this one did not get so far."""
        path = self.run_dir / "metrics.jsonl"
        if not path.exists():
            return None
        step, number = None, 0
        for record in records(path):
            if record.get("event") == "start":
                step, number = record["step"], number + 1
        if number <= getattr(self, "_starts_seen", 0):
            return None
        self._starts_seen = number
        return step

    def _compare_checkpoints(self, before: list[int], disturbance: Disturbance) -> None:
        """What was good is there and good, but for what keep_last lets go and what was written anew."""
        now = self._good()
        if self.keep is None:
            lost = sorted(set(before) - set(now))
        else:
            lost = [s for s in before[-1:] if not now or now[-1] < s]
        if lost:
            self.tally.failures.append(f"{disturbance.kind}: good checkpoints are gone or bad: steps {lost}")

    def _good(self) -> list[int]:
        found = []
        for path in store.complete(self.run_dir):
            try:
                store.verify(path)
                found.append(store.step_of(path))
            except Exception as error:  # whatever it is: a complete checkpoint is never bad
                self.tally.failures.append(f"{path.name} is complete and not good: {error}")
        return found

    def _lines(self) -> int:
        path = self.run_dir / "metrics.jsonl"
        return (
            max((r["step"] for r in records(path) if r.get("kind") == "train"), default=0)
            if path.exists()
            else 0
        )

    def _stepped(self, since: float) -> bool:
        path = self.run_dir / "metrics.jsonl"
        if not path.exists():
            return False
        return any(r.get("kind") == "train" and r["time"] > since for r in records(path))

    def _saving(self) -> bool:
        return any((self.run_dir / "checkpoints").glob(".step-*.tmp"))

    def _done(self) -> bool:
        return bool(store.complete(self.run_dir)) and store.step_of(store.complete(self.run_dir)[-1]) >= STEPS

    def _compare(self, expected: list[list[object]]) -> None:
        if self.tally.failures:
            return
        found = curve(self.run_dir)
        if found != expected:
            wrong = [a[0] for a, b in zip(expected, found, strict=False) if a != b]
            self.tally.failures.append(
                f"the curve has {len(found)} of {len(expected)} steps and differs from step {wrong[:1]} on"
            )


def curve(run_dir: Path) -> list[list[object]]:
    """Each step's numbers that must be the same to the bit."""
    return [[line[name] for name in EXACT] for line in training_lines(run_dir)]


def records(path: Path) -> list[dict]:
    """The whole lines of a metrics file that is being written."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Nothing of a start outlives it."""
    try:
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(30)
    limit = time.monotonic() + 20
    while any(
        p.info["pid"] != os.getpid() and _group(p) == process.pid for p in psutil.process_iter(["pid"])
    ):
        assert time.monotonic() < limit, "a rank outlived its parent"
        time.sleep(0.05)


def _group(process: psutil.Process) -> int | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getpgid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def soak(
    folder: Path,
    corpus: list[str],
    jobs: Iterable[tuple[str, bool]],
    times: int,
    until: float,
    seed: int,
    workers: int,
) -> list[Tally]:
    """Disturb one run for each job (a layout, and whether checkpoints are written beside training), until `until`."""
    wholes: dict[str, list[list[object]]] = {}
    lock = threading.Lock()
    tallies: list[Tally] = []

    def one(number: int, name: str, asynchronous: bool) -> None:
        if time.monotonic() > until:
            return
        label = f"{number:03}-{name.split(',')[0].replace(' ', '-')}-{'beside' if asynchronous else 'waits'}"
        run = Run(label, name, asynchronous, corpus, folder, 1000 * seed + number)
        try:
            tally = run.disturb(times, until, wholes[name])
        except Exception as error:  # the table is printed all the same
            tally = run.tally
            tally.failures.append(f"the soak itself: {traceback.format_exception_only(error)[-1].strip()}")
        with lock:
            tallies.append(tally)
            print(f"{label}: {tally.starts} starts, {sum(tally.kinds.values())} disturbances, "
                  f"{tally.failures or 'the curve is equal'}", flush=True)  # fmt: skip
        if not tally.failures:
            shutil.rmtree(run.folder)

    jobs = list(jobs)
    layouts = list(dict.fromkeys(layout for layout, _ in jobs))
    with ThreadPoolExecutor(workers) as pool:
        wholes |= zip(layouts, pool.map(lambda layout: _whole(layout, corpus, folder), layouts), strict=True)
        for job in [pool.submit(one, number, *job) for number, job in enumerate(jobs)]:
            job.result()
    return tallies


def _whole(name: str, corpus: list[str], folder: Path) -> list[list[object]]:
    run = Run(f"whole-{name.split(',')[0].replace(' ', '-')}", name, True, corpus, folder, 0)
    return run.whole()


def table(tallies: list[Tally]) -> str:
    """Markdown: a line for each layout and way of saving, then one for each kind of disturbance."""
    lines = ["| layout | saving | runs | starts | disturbances | power cuts | steps repeated | curves equal |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for key in sorted({(t.layout, t.saving) for t in tallies}):
        own = [t for t in tallies if (t.layout, t.saving) == key]
        equal = sum(not t.failures for t in own)
        lines.append(
            f"| {key[0]} | {key[1]} | {len(own)} | {sum(t.starts for t in own)} "
            f"| {sum(sum(t.kinds.values()) for t in own)} | {sum(t.power_cuts for t in own)} "
            f"| {sum(t.repeated for t in own)} | {equal} of {len(own)} |"
        )
    kinds = sum((t.kinds for t in tallies), Counter())
    lines += ["", "| disturbance | times |", "|---|---|"]
    lines += [f"| {kind} | {number} |" for kind, number in sorted(kinds.items())]
    lines += [f"| all | {sum(kinds.values())} |"]
    return "\n".join(lines)


def prepare(folder: Path) -> list[str]:
    """Overrides for a byte-level corpus from this machine's standard library, prepared once."""
    inputs = [json.__file__, str(Path(json.__file__).with_name("decoder.py")), subprocess.__file__]
    overrides = ["data=files", f"data.sources.files.inputs=[{','.join(inputs)}]"]
    overrides += ["data.tokenizer.kind=byte", f"data.dir={folder / 'prepared'}"]
    subprocess.run(
        [sys.executable, "-m", "slipway", "data", *SMALL, *overrides], check=True, cwd=folder, timeout=300
    )
    return overrides


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="for how long runs are disturbed (30)")
    parser.add_argument("--seed", type=int, default=1, help="of the die (1)")
    parser.add_argument("--workers", type=int, default=2, help="runs side by side (2)")
    parser.add_argument("--times", type=int, default=12, help="disturbances of one run at most (12)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="slipway-soak-"))
    print(
        f"in {folder}; power cuts {'included' if power.possible() else 'left out: they need root and loop devices'}"
    )
    corpus = prepare(folder)
    until = time.monotonic() + 60 * options.minutes
    jobs = [(name, way) for _ in range(MOST_ROUNDS) for way in (False, True) for name in LAYOUTS]
    tallies = soak(folder, corpus, jobs, options.times, until, options.seed, options.workers)
    failed = [failure for tally in tallies for failure in tally.failures]
    print(f"\n{table(tallies)}\n")
    if failed or not tallies:
        print(f"{len(failed)} failures; the runs are kept in {folder}:\n" + "\n".join(failed))
        return 1
    print(f"{len(tallies)} runs, {sum(t.starts for t in tallies)} starts: all curves equal, nothing lost")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
