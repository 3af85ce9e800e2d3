"""Finding a run by its directory or its name."""

import time
from collections.abc import Sequence
from pathlib import Path

from slipway.config.explain import nearest
from slipway.errors import UserError
from slipway.runs.overview import find, is_run, look


def find_one(name: str, folder: Path, command: str) -> Path:
    """Return the directory of a run that is given by its directory, its directory's name, or its own name.

    command: the command that asks, for messages. Raises UserError if no run has the name, or several have it.
    """
    if is_run(Path(name)):
        return Path(name)
    found = list(find(folder))
    named = [path for path in found if name in (path.name, str(path.relative_to(folder)))]
    own = {path: _own_name(path) for path in found} if not named else {}
    named = named or [path for path in found if own[path] == name]
    if len(named) == 1:
        return named[0]
    if named:
        raise UserError(
            f"{command} {name}",
            f"{len(named)} runs have this name: {', '.join(map(str, named))}",
            use="the directory of one of them",
        )
    if not found:
        raise UserError(f"{command} {name}", f"no run in {folder}", use="a run's directory, or --dir DIR")
    names = {path.name for path in found} | {text for text in own.values() if text}
    raise UserError(f"{command} {name}", f"no such run in {folder}", do=nearest(name, names))


def folders(names: Sequence[str], below: Path, command: str) -> list[Path]:
    """Return the directories of runs that are given by directory, by name, or by the overrides of a configuration.

    command: the command that asks, for messages. Raises UserError if a name is no run's, or several runs'.
    """
    found, overrides = [], []
    for name in names:
        if Path(name).is_dir():
            found.append(Path(name))
        elif "=" in name:
            overrides.append(name)
        else:
            found.append(find_one(name, below, command))
    if overrides:
        from slipway.config.compose import compose

        found.append(compose(overrides).run.dir)
    return list(dict.fromkeys(found))


def _own_name(path: Path) -> str:
    return look(path, time.time()).name
