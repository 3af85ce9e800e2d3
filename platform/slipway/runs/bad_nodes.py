"""run.dir/bad_nodes: nodes that a retry should not use. One line per node: its name, then why."""

from pathlib import Path

FILE = "bad_nodes"


def add(run_dir: Path, host: str, reason: str) -> None:
    """Note a node; what is known already is not noted twice."""
    if host in read(run_dir):
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / FILE).open("a", encoding="utf-8") as file:
        file.write(f"{host} {' '.join(reason.split())}\n")


def read(run_dir: Path) -> dict[str, str]:
    """Node and reason; empty where there is no such file."""
    try:
        lines = (run_dir / FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {host: reason for host, _, reason in (line.partition(" ") for line in lines) if host}
