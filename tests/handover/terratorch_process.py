"""Real terratorch, in the process that in_terratorch.py is."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parent.parent.parent
PYTHON = CHECKOUT / ".venv-terratorch" / "bin" / "python"
PROGRAM = Path(__file__).with_name("in_terratorch.py")


class Terratorch:
    """Started at once, so that it imports while others work; the first request waits for that."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [PYTHON, PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )

    def ask(self, call: str, **request: Any) -> Any:
        """The answer of one of its functions."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"call": call, **request}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:  # libraries print, too
            if line.startswith("answer: "):
                found = json.loads(line.removeprefix("answer: "))
                assert "error" not in found, found["error"]
                return found["answer"]
        raise AssertionError(f"it has ended: {self.log.read_text()[-3000:]}")

    def close(self) -> None:
        """End it: it has nothing to tidy up, and taking down all that it has imported takes seconds."""
        self.process.kill()
        self.process.wait()
