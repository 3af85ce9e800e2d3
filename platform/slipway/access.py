"""Who may write a run's folder: what is said where a process may not, and whose a folder made for pods should be."""

import os
from pathlib import Path

from slipway.config.schema import RunConfig
from slipway.data import kind_of


def cannot_write(folder: Path) -> str:
    """Why a folder cannot be written: whose it is, who asks, and what mends it."""
    me = f"{os.geteuid()}:{os.getegid()}"
    mend = f"chown -R {me} {folder}, or another run.dir"
    try:
        state = folder.stat()
    except OSError:
        return f"cannot write into {folder} as uid:gid {me}"
    owner = f"{state.st_uid}:{state.st_gid}"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        mend = f"chown -R {me} {folder} as root, as deploy/kubernetes/owner.yaml does"
        if state.st_uid:
            mend += f"; or launch with cluster.kubernetes.run_as_user={state.st_uid}"
    return (
        f"cannot write into {folder}: it belongs to uid:gid {owner}, mode {state.st_mode & 0o777:03o}, and this "
        f"process is {me}; mend it: {mend}"
    )


def hand_to_pods(folder: Path, config: RunConfig) -> str | None:
    """A new folder where the pods' volume is in reach: give it to the pods' user, else say who cannot write there.

    That this is the volume is taken from the run's data, which is prepared on it.
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
