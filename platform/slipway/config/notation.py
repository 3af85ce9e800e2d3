"""Notations of shells, Slurm and NCCL as types of fields: what their own tools accept is accepted. Pure."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from slipway.config import selection


def _digits(value: object) -> object:
    """Return an integer as text: accounts may consist of digits, which Hydra takes for a number."""
    return str(value) if type(value) is int else value


# A name in a script or a manifest: nothing that a shell, YAML or Slurm could read in another way.
Word = Annotated[
    str,
    BeforeValidator(_digits),
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/@+=,-]*$", max_length=200),
]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
Absolute = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./-]*$", max_length=1000)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=4000)]


def _selection(value: object) -> object:
    """Return names of interfaces or adapters in their one canonical form; NCCL's own notation is accepted, too."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return value
    return [str(item) for item in selection.of_profile(texts)]


def _no_ports(names: list[str]) -> list[str]:
    wrong = next((name for name in names if ":" in name), None)
    if wrong:
        raise ValueError(f"must be interfaces, which have no ports; {wrong!r} has one")
    return names


# What a script already sets: a later #SBATCH line would override it, and the limits that were checked.
_SAID_BY = {
    **dict.fromkeys(("account", "A"), "launch.account"),
    **dict.fromkeys(("partition", "p"), "launch.partition"),
    **dict.fromkeys(("qos", "q"), "launch.qos"),
    **dict.fromkeys(("time", "t"), "launch.time_limit"),
    **dict.fromkeys(("exclude", "x"), "launch.exclude"),
    **dict.fromkeys(("nodes", "N"), "resources.nodes"),
    **dict.fromkeys(("ntasks", "n", "ntasks-per-node", "tasks-per-node"), "resources.devices_per_node"),
    **dict.fromkeys(("cpus-per-task", "c"), "cluster.node.cores_per_device"),
    **dict.fromkeys(("constraint", "C"), "cluster.slurm.constraint"),
    **dict.fromkeys(("requeue", "no-requeue"), "cluster.slurm.requeue"),
    **dict.fromkeys(("job-name", "J"), "run.name"),
    **dict.fromkeys(("array", "a"), "a sweep (-m)"),
    **dict.fromkeys(("chdir", "D"), "launch.workdir"),
    **dict.fromkeys(("output", "o", "error", "e"), "run.dir (logs are below it)"),
    **dict.fromkeys(("wait", "W"), "the chain of jobs (each submits the next one and goes on)"),
    "mem": "cluster.slurm.memory",
    "exclusive": "cluster.slurm.exclusive",
    "signal": "cluster.slurm.signal_seconds",
}
# Options of srun: a later one overrides the script's own, and what the job is given.
_SAID_TO_SRUN_BY = {
    **dict.fromkeys(("ntasks", "n", "ntasks-per-node", "tasks-per-node"), "resources.devices_per_node"),
    **dict.fromkeys(("nodes", "N"), "resources.nodes"),
    **dict.fromkeys(("exclude", "x"), "launch.exclude"),
    **dict.fromkeys(("time", "t"), "launch.time_limit"),
    **dict.fromkeys(("chdir", "D"), "launch.workdir"),
    **dict.fromkeys(("cpus-per-task", "c"), "cluster.node.cores_per_device"),
    **dict.fromkeys(("kill-on-bad-exit", "K"), "the script (one rank's end is every rank's)"),
    "cpu-bind": "cluster.slurm.cpu_bind",
    "export": "cluster.environment",
}


def _option(text: str) -> str:
    """Return an option, with or without `#SBATCH` in front (`#SBATCH --hint=nomultithread`).

    Raises ValueError if it is none.
    """
    words = re.sub(r"^\s*#SBATCH\s+", "", text).strip()
    if not re.match(r"-{1,2}[A-Za-z]", words):
        raise ValueError(
            f"must be options, as --hint=nomultithread or -w n1; {text!r} is none: Slurm would ignore it"
        )
    return words


def _names(words: str) -> Iterator[str]:
    """Yield the names of all options in a text: Slurm accepts several on one #SBATCH line."""
    try:
        texts = shlex.split(words)
    except ValueError:
        texts = words.split()
    for text in texts:
        if found := re.match(r"--([A-Za-z-]+)|-([A-Za-z])", text):
            yield found[1] or found[2]


def _check_said(words: str, said_by: Mapping[str, str]) -> str:
    """Return the options. Raises ValueError if one of them sets what another field sets.

    Names may be cut short, as getopt_long allows: --part=debug.
    """
    for name in _names(words):
        said = said_by.get(name)
        if said is None and len(name) > 1:
            said = next((by for whole, by in said_by.items() if whole.startswith(name)), None)
        if said:
            raise ValueError(f"must say nothing that {said} says: it would beat it; {words!r} does")
    return words


def _own(words: str) -> str:
    return _check_said(words, _SAID_BY)


def _own_of_srun(words: str) -> str:
    return _check_said(words, _SAID_TO_SRUN_BY)


def _masks(value: object) -> object:
    """Return masks in the notation of profiles; srun's, without 0x and in one text, is accepted, too."""
    texts = re.sub(r"^mask_cpu[:=]", "", value).split(",") if isinstance(value, str) else value
    if not isinstance(texts, list):
        return value
    if any(type(text) is int for text in texts):
        raise ValueError(
            "must be in quotes: YAML takes 0xfe for the number 254, and 10, which is 0x10, for ten"
        )
    return [f"0x{m}" if isinstance(m, str) and re.fullmatch("[0-9a-fA-F]+", m) else m for m in texts]


Masks = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]+$")]], BeforeValidator(_masks)
]
# Slurm's notation for features: a100&ib, rack1|rack2, [a*2&b].
Constraint = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_(\[][A-Za-z0-9_.:+*&|()\[\],@-]*$", max_length=200)
]
SrunOption = Annotated[Line, AfterValidator(_option), AfterValidator(_own_of_srun)]
SbatchOption = Annotated[Line, AfterValidator(_option), AfterValidator(_own)]
# Slurm's notation for sizes: megabytes, or a number with a unit.
Memory = Annotated[
    str, BeforeValidator(_digits), StringConstraints(pattern=r"^(?:0|[1-9][0-9]*(?:[KMGTkmgt][Bb]?)?)$")
]
Adapters = Annotated[list[str], BeforeValidator(_selection)]
Interfaces = Annotated[Adapters, AfterValidator(_no_ports)]
