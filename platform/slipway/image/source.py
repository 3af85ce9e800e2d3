"""The origin of an image's source, from what git says of the checkout."""

import re
from pathlib import Path

from slipway import commands


def revision(root: Path) -> str:
    """Return the commit, with `-dirty` if files differ from it; empty outside a repository."""
    commit = _git(root, "rev-parse", "HEAD")
    changed = commit and _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit


def address(root: Path) -> str:
    """Return the address of the remote `origin`, without a user's name or token; empty if it is a folder or missing."""
    return public(_git(root, "remote", "get-url", "origin"))


def public(remote: str) -> str:
    """Return a remote as a web address; empty if it names no server."""
    match = re.fullmatch(
        r"(?:https?://|ssh://|git@)(?:[^@/]*@)?([^/:]+)(?::\d+)?[:/](.+?)(?:\.git)?/?", remote
    )
    return f"https://{match[1]}/{match[2]}" if match else ""


def _git(root: Path, *words: str) -> str:
    try:
        done = commands.call(["git", "-C", str(root), *words])
    except commands.NotRun:
        return ""
    return "" if done.code else done.output.strip()
