"""Whose a folder is, in words that mend it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.config.compose import compose
from slipway.runs.access import cannot_write, hand_to_pods

CLOUD = ["cluster=gke", "data.dir=data/prepared"]


@pytest.mark.parametrize("pod", [False, True])
def test_the_message_names_both_and_the_mend(pod: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if pod:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    tmp_path.chmod(0o755)
    state = tmp_path.stat()
    text = cannot_write(tmp_path)
    for part in (f"{state.st_uid}:{state.st_gid}", "mode 755", f"{os.geteuid()}:{os.getegid()}", "chown -R"):
        assert part in text
    assert ("pod" in text) == pod and "\n" not in text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("there", [False, True])
def test_train_says_it(there: bool, tmp_path: Path, monkeypatch, capfd) -> None:
    """As user 1000 on a volume of root's, or in a run's folder that the submitter made."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "runs" if there else tmp_path
    folder.mkdir(exist_ok=True)
    code = (
        "import os, sys; os.setgroups([]); os.setgid(1000); os.setuid(1000)\n"
        "from pathlib import Path\nfrom slipway.errors import UserError\n"
        "from slipway.train.command import _check_run_dir\n"
        "try: _check_run_dir(Path(sys.argv[1]))\nexcept UserError as error: print(error)"
    )
    words = [sys.executable, "-c", code, str(folder / "demo")]
    for parent in tmp_path.parents:
        if not parent.stat().st_mode & 0o001:
            pytest.skip(f"{parent} is not open to others")
    said = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert "belongs to uid:gid 0:0, mode 755, and this process is 1000:1000" in said.stdout, said.stderr


def test_a_folder_made_on_the_volume_is_the_pods(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/demo")
    folder.mkdir(parents=True)
    assert (
        hand_to_pods(folder, compose(CLOUD)) is None and folder.stat().st_uid == os.geteuid()
    )  # not the volume
    Path("data/prepared").mkdir(parents=True)
    user = os.geteuid() + 4321
    said = hand_to_pods(folder, compose([*CLOUD, f"cluster.kubernetes.run_as_user={user}"]))
    assert folder.stat().st_uid == user if said is None else f"chown {user} runs/demo" in said
