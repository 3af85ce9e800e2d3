import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import breadth


def write_lines(path: Path, text_maker: Callable[[int, int], str], megabytes: int) -> None:
    texts = [text_maker(seed, 400) for seed in range(100)]
    written = i = 0
    with open(path, "w") as file:
        while written < megabytes * 1e6:
            # a number in each, so that new words never end
            written += file.write(
                json.dumps({"text": f"{i * 7919} {texts[i % 100]}"}, ensure_ascii=False) + "\n"
            )
            i += 1


def peaks(folder: Path, lines: Path, tokenizer: Path) -> tuple[float, float]:
    """Most memory (MB, resident) that the preparing process held, and the worker that did not import torch."""
    command = [
        *(sys.executable, "-m", "slipway", "data", "data=files", f"data.sources.files.inputs=[{lines}]"),
        *(
            "data.tokenizer.kind=file",
            f"data.tokenizer.path={tokenizer}",
            'data.tokenizer.end_of_document="<|end|>"',
        ),
        *(f"data.dir={folder}", "data.workers=2"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    most: dict[int, float] = {}
    while process.poll() is None:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for pid in (process.pid, *map(int, children)):
                status = Path(f"/proc/{pid}/status").read_text()
                if "VmHWM:" in status:
                    most[pid] = int(status.split("VmHWM:")[1].split()[0]) / 1000
        except OSError:
            continue
        time.sleep(0.02)
    assert process.returncode == 0, process.stderr and process.stderr.read()
    parent = most.pop(process.pid)
    assert len(most) == 2
    return parent, min(most.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_does_not_grow_with_the_input(
    tmp_path: Path, bpe: Any, text_maker: Callable[[int, int], str]
) -> None:
    bpe.save(str(tmp_path / "tokenizer.json"))
    found = []
    for megabytes in (20, 80) if breadth.ALL else (6, 24):
        lines = tmp_path / f"{megabytes}.jsonl"
        write_lines(lines, text_maker, megabytes)
        found.append(peaks(tmp_path / str(megabytes), lines, tmp_path / "tokenizer.json"))
    (parent, worker), (parent_of_more, worker_of_more) = found
    more = 20 if breadth.ALL else 6  # MB, of 60 or 18 that are read besides
    assert parent_of_more < parent + more, found
    assert worker_of_more < worker + 1.5 * more, found
    assert worker_of_more < 250, found
