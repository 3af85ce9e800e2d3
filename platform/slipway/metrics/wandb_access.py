"""Whether wandb is installed here, and has a key for its server.

Imports neither torch nor, in this process, wandb. As a program (`python -m slipway.metrics.wandb_access`) it asks
wandb, and prints {"problem": TEXT or null}.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec

from slipway.secrets import in_one_line

CHECK_SECONDS = 60.0  # a slow file system takes long to load wandb
HOW_TO_MEND = "set WANDB_API_KEY, or run `wandb login` once"


def installed(package: str) -> bool:
    """Return whether a package is installed; a mere folder of its name, as wandb leaves them, is none."""
    found = find_spec(package)
    return found is not None and found.origin is not None


def key_problem() -> str | None:
    """Return what is wrong with the credentials that wandb finds here; None if nothing is, or wandb cannot be asked.

    wandb looks into the environment, netrc and its settings. Needs no network. The key is not in the answer.
    """
    words = [sys.executable, "-m", "slipway.metrics.wandb_access"]
    try:
        with tempfile.TemporaryDirectory(prefix="slipway-wandb-") as folder:  # wandb leaves folders there
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=CHECK_SECONDS,
                env={**os.environ, "TMPDIR": folder},
            )
        return json.loads(done.stdout)["problem"]
    except (subprocess.TimeoutExpired, OSError, ValueError, KeyError):
        return None  # not known: wandb itself reports it when it is used


def one_line(error: BaseException) -> str:
    """Return an error's text in one line of at most 300 characters, without secrets."""
    return (in_one_line(error) or type(error).__name__)[:300]


def _ask_wandb() -> str | None:
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    try:
        host = wandb_setup.singleton().settings.base_url
        found = wbauth.authenticate_session(host=host, source="slipway", prompt=False)
    except Exception as error:
        return one_line(error)
    return None if found else f"wandb finds no API key for {host}"


if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # wandb prints to both
    print(json.dumps({"problem": _ask_wandb()}), file=answer, flush=True)
    os._exit(0)
