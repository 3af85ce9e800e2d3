"""The checks of what leaks from the host into Python and the loader; containers/env.sh keeps it out of the image."""

import importlib.util
import os
import site
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slipway.doctor.finding import Finding, judged
from slipway.doctor.here import Here

# What training imports; a package that is found elsewhere than the rest belongs to another version.
IMPORTED = ("torch", "numpy", "megatron", "pydantic", "transformer_engine", "apex", "triton")
VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_PRELOAD", "LD_AUDIT")


def where(name: str) -> str | None:
    """Return the directory from which a package would be imported; None if there is none. Imports nothing."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    locations = [found.origin, *(found.submodule_search_locations or [])]
    return next((str(Path(place).parent) for place in locations if place), None)


def user_site(
    here: Here,
    path: Sequence[str] | None = None,
    folder: str | None = None,
    origin: Callable[[str], str | None] = where,
) -> Finding:
    """Return whether packages of ~/.local are on Python's path. path, folder: None: this Python's."""
    path = sys.path if path is None else path
    folder = site.getusersitepackages() if folder is None else folder
    expected = "not on Python's path"
    if not any(_inside(entry, folder) for entry in path if entry):
        return Finding("user-site", "ok", "not on Python's path", expected)
    taken = [name for name in IMPORTED if _inside(origin(name) or "", folder)]
    saw = f"{folder} is on Python's path" + (f" and gives {', '.join(taken)}" if taken else "")
    advice = "export PYTHONNOUSERSITE=1; in the image, start `slipway` itself or slipway-entry"
    return judged(False, "user-site", saw, expected, advice, "fault" if taken or here.in_image else "warning")


def environment(here: Here, origin: Callable[[str], str | None] = where) -> Finding:
    """Return whether variables of the host change what Python or the loader loads."""
    given = {name: here.environment[name] for name in VARIABLES if here.environment.get(name)}
    expected = ", ".join(VARIABLES) + " empty"
    if not given:
        return Finding("environment", "ok", "empty", expected)
    taken = _taken(given, origin)
    missing = _missing_libraries(given.get("LD_PRELOAD", ""))
    saw = ", ".join(f"{name}={value}" for name, value in given.items())
    saw += f"; {', '.join(taken)} would come from there" if taken else ""
    saw += f"; not there: {', '.join(missing)}" if missing else ""
    advice = f"unset {' '.join(given)} before the launch; modules of the site may set them"
    bad = bool(taken or missing or here.in_image)
    return judged(False, "environment", saw, expected, advice, "fault" if bad else "warning")


def _taken(given: Mapping[str, str], origin: Callable[[str], str | None]) -> list[str]:
    folders = [entry for entry in given.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return [name for name in IMPORTED if any(_inside(origin(name) or "", entry) for entry in folders)]


def _missing_libraries(preload: str) -> list[str]:
    words = preload.replace(":", " ").split()
    return [word for word in words if word.startswith("/") and not Path(word).exists()]


def _inside(entry: str, folder: str) -> bool:
    return bool(entry) and Path(entry).resolve().is_relative_to(Path(folder).resolve())
