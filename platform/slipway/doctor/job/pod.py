"""A node with a single process, such as a pod, or a machine alone: the process starts one doctor per device itself."""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from slipway.config.schema import RunConfig
from slipway.doctor.here import PREPARES
from slipway.doctor.job.collectives import python
from slipway.errors import UserError
from slipway.ranks.environment import Node, listening_socket


def alone(config: RunConfig) -> Node:
    """Return this machine as the only node. Raises UserError if the run has several."""
    if config.resources.nodes > 1:
        raise UserError(
            "doctor --collectives",
            f"resources.nodes={config.resources.nodes} needs a launcher on every node (srun, torchrun or pods) "
            "with one process per device; no launcher was detected",
            do="start it with a launcher, or use resources.nodes=1",
        )
    with listening_socket() as sock:
        port = sock.getsockname()[1]
    return Node(0, 1, "127.0.0.1", port)


def start_ranks(config: RunConfig, options: argparse.Namespace, here: Node) -> int:
    """Run the ranks of this node to their end. Return the highest of their exit codes."""
    count = config.resources.devices_per_node
    with tempfile.TemporaryDirectory(prefix="slipway-doctor-") as folder:
        plan = Path(folder) / "plan.json"
        plan.write_text(json.dumps({"config": config.model_dump(mode="json")}), encoding="utf-8")
        ranks = [
            subprocess.Popen(
                [*python(), "-m", "slipway", "doctor", "--plan", str(plan), *_words(options)],
                env={**os.environ, **rank_environment(here, local, count)},
            )
            for local in range(count)
        ]
        try:
            return max(rank.wait() for rank in ranks)
        finally:
            for rank in ranks:
                rank.kill()


def rank_environment(here: Node, local: int, count: int) -> dict[str, str]:
    """Return the variables that make a process rank `local` of `count` on this node."""
    return {
        "RANK": str(here.node_rank * count + local),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(here.nodes * count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": here.master_addr or "127.0.0.1",
        "MASTER_PORT": str(here.master_port),
        **({PREPARES: "1"} if here.nodes == 1 else {}),
    }


def _words(options: argparse.Namespace) -> list[str]:
    words = [f"--timeout={options.timeout}"]
    for name in ("collectives", "json", "bad_nodes"):
        words += [f"--{name.replace('_', '-')}"] if getattr(options, name) else []
    return [*words, *(["--root", str(options.root)] if options.root else [])]
