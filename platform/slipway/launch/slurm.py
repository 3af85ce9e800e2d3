"""Rendering of plans as one sbatch script: one plan is a job, several are an array.

Pure; its text is in deploy/slurm.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.errors import UserError
from slipway.launch import checks, fabric, leftovers, share, times
from slipway.launch.placement import Placement
from slipway.launch.templates import TRAIN, template, variables
from slipway.plan import Plan, plan_file

END_MARGIN_SECONDS = 30
TEMPLATE = "slurm/job.sh.j2"
LOG = "slurm-%j.out"
LOG_OF_ARRAY = "slurm-%A_%a.out"
"""The job's log, in the workdir, which is sure to exist: Slurm opens it before the script can make the run's
directory, into which the script moves it."""


def render(plans: Sequence[Plan], placement: Placement, workdir: Path, verb: Sequence[str] = TRAIN) -> str:
    """Return the script that trains these plans, all of one size in nodes and devices.

    Args:
        plans: One for each run; several become an array with one job each.
        placement: The place on the cluster, as `place` returns it.
        workdir: An absolute path; relative paths of the runs are below it.
        verb: What each task runs with the plan, if not `train`.
    """
    first = plans[0].config
    for plan in plans:
        checks.check_paths(plan.config, workdir)
    checks.check_no_secrets(first)
    checks.check_environment(first, variables(TEMPLATE))
    _check_devices(first)
    share.check(first)
    _check_one_shape([plan.config for plan in plans])
    times.check(plans, placement)
    options = [_option(name, value) for name, value in _options(plans, placement, workdir)]
    options += [checks.one_line(option) for option in _slurm(first).sbatch_options]
    return template(TEMPLATE).render(
        title=checks.one_line(_title(plans)),
        options=options,
        leftovers=_leftovers(options),
        workdir=str(workdir),
        jobs=jobs_of(plans),
        plan_json=plan_file.to_text(plans[0]).rstrip("\n"),
        chain=first.launch.chain,
        requeue=_slurm(first).requeue,
        exclude=first.launch.exclude,
        host_suffix=_slurm(first).host_suffix,
        resolve_address=_slurm(first).resolve_address,
        end_margin=END_MARGIN_SECONDS,
        environment=environment(first),
        modules=first.cluster.container.modules,
        container=[
            *([shown] if (shown := share.shown_devices(first)) else []),
            *container(first, placement.image, workdir, [plan.config for plan in plans]),
        ],
        srun=_srun(first),
        preflight=first.launch.preflight,
        verb=verb,
    )


def environment(config: RunConfig) -> dict[str, str]:
    """Return the variables of every rank: the profile's, and what follows from it."""
    slurm, derived = _slurm(config), fabric.environment(config.cluster.network)
    if config.cluster.internet is False:
        derived["WANDB_MODE"] = "offline"
    cores = share.cores_per_task(config) if slurm else None
    if cores:
        derived["SRUN_CPUS_PER_TASK"] = str(
            cores
        )  # from Slurm 22.05 on srun does not inherit --cpus-per-task
    return derived | config.cluster.environment


def container(config: RunConfig, image: str, workdir: Path, configs: Sequence[RunConfig]) -> list[list[str]]:
    """Return the words that start the container, before the command, line by line."""
    settings = config.cluster.container
    binds = [str(workdir), *_outside(configs, workdir), *settings.binds]
    return [
        [settings.runtime, "exec", "--no-home"],
        *(option_words(option) for option in settings.options),
        *(["--bind", bind] for bind in dict.fromkeys(binds)),
        ["--pwd", str(workdir)],
        [image],
    ]


def job_name(plans: Sequence[Plan]) -> str:
    """Return the job's name, as squeue shows it: the run's, or the common beginning of the names in a sweep."""
    name = plans[0].config.run.name
    return name if len(plans) == 1 else name.partition(",")[0]


def _options(plans: Sequence[Plan], placement: Placement, workdir: Path) -> list[tuple[str, str | None]]:
    """Return #SBATCH options in the order in which people look for them; a value of None marks a flag."""
    config = plans[0].config
    slurm, resources = _slurm(config), config.resources
    log = LOG if len(plans) == 1 else LOG_OF_ARRAY
    given: list[tuple[str, str | int | None]] = [
        ("job-name", job_name(plans)),
        ("account", placement.account),
        ("partition", placement.partition),
        ("qos", placement.qos),
        ("array", f"0-{len(plans) - 1}" if len(plans) > 1 else None),
        ("nodes", resources.nodes),
        ("ntasks-per-node", resources.devices_per_node),
        ("cpus-per-task", share.cores_per_task(config)),
        _devices(config),
        ("mem", share.memory(config)),
        ("constraint", slurm.constraint),
        ("exclude", ",".join(config.launch.exclude) or None),
        ("time", _time(placement.minutes)),
        ("signal", f"USR1@{slurm.signal_seconds}"),
        ("open-mode", "append"),
        ("output", f"{workdir}/{log}"),
    ]
    flags = [*(["exclusive"] if slurm.exclusive else []), "requeue" if slurm.requeue else "no-requeue"]
    options: list[tuple[str, str | None]] = [(name, str(value)) for name, value in given if value is not None]
    return options + [(flag, None) for flag in flags]


def _devices(config: RunConfig) -> tuple[str, str | None]:
    devices, slurm = config.resources.devices_per_node, _slurm(config)
    if config.cluster.device.kind == "cpu":
        return "gres", None
    count = devices * (config.resources.nodes if slurm.gpu_request == "gpus" else 1)
    words = [*(["gpu"] if slurm.gpu_request == "gres" else []), *filter(None, [slurm.gpu_type]), str(count)]
    return slurm.gpu_request, ":".join(words)


def _check_devices(config: RunConfig) -> None:
    """Check that no extra option replaces the one that requests the devices. Raises UserError."""
    name, value = _devices(config)
    for option in _slurm(config).sbatch_options if value else ():
        if re.search(rf"(?:^|\s)--{name}(?:[=\s]|$)", option):
            raise UserError(
                "cluster.slurm.sbatch_options",
                f"would override the job's own --{name}={value}",
                value=option,
                do="omit it, or request the devices another way (cluster.slurm.gpu_request)",
            )


def _srun(config: RunConfig) -> list[str]:
    masks, slurm = share.cpu_masks(config), _slurm(config)
    # sbatch --export=NONE, set by a site or a profile, would keep this script's variables from the ranks
    words = ["--export=ALL", "--kill-on-bad-exit=1"]
    if masks:
        words.append(f"--cpu-bind=mask_cpu:{','.join(masks)}")
    elif slurm.cpu_bind and share.cores_per_task(config):
        words.append(f"--cpu-bind={slurm.cpu_bind}")
    return [*words, *(word for option in slurm.srun_options for word in option_words(option))]


def option_words(option: str) -> list[str]:
    """Return an option as words: `--mpi none` and `-C gpu` are two, `--comment=a b` is one."""
    name, space, value = option.partition(" ")
    return [option] if not re.fullmatch("-{1,2}[A-Za-z][^=]*", name) or not space else [name, value.strip()]


def _leftovers(options: Sequence[str]) -> dict[str, list[str]]:
    """Return the variables that the script unsets, and those of them that it keeps.

    options: the words of the script's #SBATCH lines.
    """
    given = [word[2:].partition("=")[0].split()[0] for word in options if re.match("--[a-z]", word)]
    families, inputs = leftovers.inputs_in_a_job(given)
    prefixes = (*leftovers.PROGRAMS, *families, *leftovers.LAUNCHERS, *leftovers.LIBRARIES)
    names = [*leftovers.NAMES, *leftovers.SETTINGS, *inputs]
    return {
        "prefixes": [f'"${{!{prefix}@}}"' for prefix in prefixes],
        "kept": [name for name in leftovers.KEPT if name.startswith(prefixes)],
        "kept_of_slurm": [name for name in leftovers.KEPT if name.startswith("SLURM_")],
        "names": [name for name in names if name not in leftovers.DEVICES],
        "devices": list(leftovers.DEVICES),
    }


def jobs_of(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """Return how each run of a sweep differs from the first one: its run_dir, and changes as KEY=JSON."""
    changes = plan_file.changes_of_sweep(plans)
    return [
        {"run_dir": str(plan.config.run.dir), "changes": own}
        for plan, own in zip(plans, changes, strict=True)
    ]


def _outside(configs: Sequence[RunConfig], workdir: Path) -> list[str]:
    """Return the directories that the runs name and that are not below workdir."""
    named = [
        folder for config in configs for folder in (*kind_of(config).folders(config).values(), config.run.dir)
    ]
    return [str(folder) for folder in named if folder.is_absolute() and not folder.is_relative_to(workdir)]


def _option(name: str, value: str | None) -> str:
    return f"--{name}" if value is None else f"--{name}={shlex.quote(value)}"


def _time(minutes: int | None) -> str | None:
    if minutes is None:
        return None
    hours, rest = divmod(minutes, 60)
    return f"{hours:02d}:{rest:02d}:00"


def _title(plans: Sequence[Plan]) -> str:
    config = plans[0].config
    resources = config.resources
    shape = f"{resources.nodes} nodes x {resources.devices_per_node} devices on {config.cluster.name}"
    if len(plans) == 1:
        return f"Slipway: {config.run.name}, {shape}"
    return f"Slipway: a sweep of {len(plans)} runs, each {shape}"


def _slurm(config: RunConfig) -> Any:
    assert config.cluster.slurm is not None, "placement says that it is a Slurm cluster"
    return config.cluster.slurm


def _check_one_shape(configs: Sequence[RunConfig]) -> None:
    """Check that the jobs of an array differ only in their runs. Raises UserError."""
    first = configs[0]
    for config in configs[1:]:
        for name in ("nodes", "devices_per_node"):
            there, here = getattr(first.resources, name), getattr(config.resources, name)
            if there != here:
                raise UserError(
                    f"resources.{name}",
                    f"is {there} and {here} in one sweep, but the jobs of an array have one shape",
                    do="launch a sweep for each",
                )
        for section in ("cluster", "launch"):
            if getattr(first, section) != getattr(config, section):
                raise UserError(section, "differs within one sweep", do="launch a sweep for each")
    limit = _slurm(first).max_array_size
    if limit and len(configs) > limit:
        raise UserError(
            "sweep",
            f"{len(configs)} jobs are more than an array may have on {first.cluster.name}",
            use=f"at most {limit} (cluster.slurm.max_array_size)",
        )
    folders: dict[Path, int] = {}
    for number, config in enumerate(configs):
        if folders.setdefault(config.run.dir, number) != number:
            raise UserError(
                "run.dir",
                "is the directory of two jobs",
                value=config.run.dir,
                do="include what the jobs differ in, such as ${run.name}",
            )
