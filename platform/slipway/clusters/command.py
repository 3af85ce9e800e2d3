"""`slipway clusters`: list the machines that `cluster=NAME` can name; with a NAME, show its whole profile."""

import argparse
import json
from pathlib import Path

from slipway.errors import EXIT_DONE, UserError


def run(options: argparse.Namespace) -> int:
    """List the profiles, or show the one called `name`. Return the exit code."""
    from slipway.clusters.profiles import Profiles

    profiles = Profiles(options.config_dir)
    if options.name is not None:
        return _show(profiles, options.name, options.json)
    return _list(profiles, options.json)


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
