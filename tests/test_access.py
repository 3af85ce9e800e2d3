"""Whose a folder is, in words that mend it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from slipway.access import cannot_write, hand_to_pods
from slipway.config.compose import compose

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
    assert ("owner.yaml" in text) == pod and "\n" not in text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_as_another_user_on_a_volume_of_roots() -> None:
    code = (
        "import os, sys; from slipway.access import cannot_write; from pathlib import Path\n"
        "os.setgroups([]); os.setgid(1000); os.setuid(1000)\n"
        "folder = Path(sys.argv[1]); print(os.access(folder, os.W_OK), cannot_write(folder))"
    )
    with tempfile.TemporaryDirectory() as name:  # not below pytest's own, which is closed to others
        Path(name).chmod(0o755)
        words = [sys.executable, "-c", code, name]
        said = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert said.stdout.startswith("False cannot write into"), said.stderr
    assert "belongs to uid:gid 0:0, mode 755, and this process is 1000:1000" in said.stdout


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
