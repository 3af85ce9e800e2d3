"""The owner of a run's directory that is created here for pods, which run as another user."""

import os
from pathlib import Path

from slipway.config.schema import RunConfig
from slipway.data import kind_of


def hand_to_pods(folder: Path, config: RunConfig) -> str | None:
    """Give a new directory to the pods' user, if it is on the pods' volume. Return a warning if that fails, else None.

    A directory counts as on the volume if the run's data, which is prepared on the volume, is here.
    """
    kubernetes = config.cluster.kubernetes
    folders = kind_of(config).folders(config).values()
    if kubernetes is None or not any(data.is_dir() and not data.is_absolute() for data in folders):
        return None
    user = kubernetes.run_as_user
    if folder.stat().st_uid == user:
        return None
    try:
        os.chown(folder, user, user)
    except OSError:
        return (
            f"{folder} belongs to uid {folder.stat().st_uid}, the pods run as uid {user} and could not write there, if "
            f"this is their volume: chown {user} {folder}, or cluster.kubernetes.run_as_user={os.geteuid()}"
        )
    return None
