"""The page "An Earth-observation model from imagery to terratorch" is what happens to somebody who follows it."""

import re
import subprocess
from pathlib import Path

import pytest

from console_blocks import ROOT
from followed import Page
from newcomer import newcomer

pytestmark = [pytest.mark.start, pytest.mark.timeout(900)]
PAGE = "docs/start/earth.md"
TERRATORCH = ROOT / ".venv-terratorch"
ALLOW_CPU = "import in_terratorch; in_terratorch.allow_cpu()\n"
"""torchvision beside a torch for CPU: see tests/handover/in_terratorch.py."""
COMPARE = """
import torch
stored = torch.load("earth.pt", weights_only=True)
state = encoder.state_dict()
same = [name for name in state if torch.equal(state[name], stored["encoder." + name])]
print("loaded", len(same), "of", len(state))
"""


def test_the_page_is_true(tmp_path: Path) -> None:
    home, environment = newcomer(tmp_path)
    Page(PAGE).follow(home, environment)
    if (TERRATORCH / ".installed").is_file():
        _load_in_terratorch(home / "slipway", environment)


def _load_in_terratorch(folder: Path, environment: dict[str, str]) -> None:
    """Run the page's Python in real terratorch; every number of the encoder is the file's."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        [TERRATORCH / "bin" / "python", "-c", ALLOW_CPU + code + COMPARE],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT / "tests" / "handover"), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    found = re.search(r"^loaded (\d+) of (\d+)$", done.stdout, re.MULTILINE)
    assert found and found[1] == found[2] and int(found[2]) > 40, done.stdout
