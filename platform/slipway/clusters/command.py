"""`slipway clusters`: the machines that `cluster=NAME` can name; with a NAME: everything its profile says."""

import json
from collections.abc import Sequence
from pathlib import Path

from slipway.arguments import Parser
from slipway.errors import EXIT_DONE, UserError

USAGE = """\
slipway clusters: the machines that cluster=NAME can name; needs no torch, asks no scheduler

usage: slipway clusters [--config-dir DIR] [--json]        all: site, scheduler, nodes, devices, queues
       slipway clusters NAME [--config-dir DIR] [--json]   one: its limits, its rules, its notes; what is unverified

  --config-dir DIR   search DIR/cluster before the shipped profiles: your own (docs/clusters.md)
  --json             for programs

examples:
  slipway clusters juwels_booster
  slipway clusters --config-dir ~/sites"""


def main(argv: Sequence[str]) -> int:
    """List the profiles or show one. Returns the exit code."""
    if "--help" in argv or "-h" in argv:
        print(USAGE)
        return EXIT_DONE
    parser = Parser(prog="slipway clusters", add_help=False, allow_abbrev=False)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_intermixed_args(list(argv))
    names: list[str] = options.names
    if len(names) > 1:
        raise UserError(
            "clusters", f"takes one name at most, got {len(names)}", use="one NAME, or none to list all"
        )

    from slipway.clusters.profiles import Profiles

    profiles = Profiles(options.config_dir)
    return _show(profiles, names[0], options.json) if names else _list(profiles, options.json)


def _list(profiles, as_json: bool) -> int:  # noqa: ANN001
    clusters, unreadable = {}, {}
    files = profiles.files()
    for name in files:
        try:
            clusters[name] = profiles.load(name)
        except UserError as error:
            unreadable[name] = str(error)
    if as_json:
        shown = [_summary(name, cluster, files[name]) for name, cluster in clusters.items()]
        print(json.dumps({"clusters": shown, "unreadable": unreadable}))
        return EXIT_DONE

    from slipway.clusters.tables import print_clusters

    print_clusters(clusters)
    for text in unreadable.values():
        print(f"not readable: {text}")
    return EXIT_DONE


def _show(profiles, name: str, as_json: bool) -> int:  # noqa: ANN001
    cluster, file = profiles.load(name), profiles.files()[name]
    if as_json:
        print(json.dumps(_summary(name, cluster, file) | {"profile": cluster.model_dump(mode="json")}))
        return EXIT_DONE

    from slipway.clusters.tables import print_cluster

    print_cluster(name, cluster, file)
    return EXIT_DONE


def _summary(name: str, cluster, file: Path) -> dict[str, object]:  # noqa: ANN001
    from slipway.clusters import marks
    from slipway.launch.placement import scheduler_of

    return {
        "name": name,
        "description": cluster.description,
        "file": str(file),
        "scheduler": scheduler_of(cluster),
        "nodes": cluster.nodes,
        "devices_per_node": cluster.devices_per_node,
        "device": cluster.device.name,
        "queues": list(cluster.slurm.queues) if cluster.slurm else [],
        "unverified": marks.unverified(cluster),
    }
