import os
import subprocess
import sys
from pathlib import Path

NOISE = "No CUDA runtime is found"
# torch for CUDA on a machine that has its compiler, but no GPU
MACHINE = (
    "import sys, torch; torch.cuda._is_compiled = lambda: True; torch.version.cuda = '13.0'; "
    "torch.cuda.is_available = lambda: False; "
)
IMPORT = "import torch.utils.cpp_extension as built; assert built.CUDA_HOME; built.logger.warning('another warning')"


def said(code: str, home: Path) -> str:
    environment = {**os.environ, "CUDA_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", MACHINE + code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_no_word_of_a_compiler_that_is_not_used(tmp_path: Path) -> None:
    assert NOISE in said(IMPORT, tmp_path)  # what torch says by itself
    heard = said(f"from slipway.cli import main; main(['--version']); {IMPORT}", tmp_path)
    assert NOISE not in heard and "another warning" in heard
