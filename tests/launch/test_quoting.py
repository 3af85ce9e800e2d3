"""No string that a user can put in a configuration breaks out of quoting: it is refused in one line, or survives."""

import json
import re
import shlex
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import shell_standins
from free_text import KEY, NASTY, TEXT, named, places, put
from slipway import secrets
from slipway.config.compose import compose
from slipway.config.explain import explain
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.launch import kubernetes, local, share, slurm
from slipway.launch.command import workdir_of
from slipway.launch.placement import Placement, place
from slipway.plan import Plan, make_plan, plan_file

PLACES = places()
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it
WORDS = ["model=demo", "resources.devices_per_node=4", "resources.nodes=1", "run.dir=runs/a"]
SLURM = [
    *WORDS,
    "cluster=juwels_booster",
    "launch.account=a",
    "launch.exclude=[n1]",
    "+cluster.environment.X=y",
]
LOCAL = [*WORDS, "cluster=local", "launch.image=image.sif", "+cluster.environment.X=y"]
CLOUD = [*WORDS, "cluster=gke", "+cluster.environment.X=y"]
SLURM_VARIABLES = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node1"}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shell")
    shell_standins.prepare(folder)
    (folder / "work").mkdir()
    return folder


@cache
def composed(words: tuple[str, ...]) -> dict[str, Any]:
    return compose(words).model_dump(mode="json")


def plain(words: list[str]) -> dict[str, Any]:
    """A configuration's JSON, to be changed."""
    return deepcopy(composed(tuple(words)))


def within(path: tuple, text: str, work: Path) -> str:
    """Folders are made where tests may make them."""
    if named(path) == "launch.workdir" and text:
        return f"{work}/{text}"
    if named(path) == "run.dir" and text:
        return f"runs/{text}"
    if named(path).startswith(("cluster.slurm.sbatch_options", "cluster.slurm.srun_options")):
        return f"--comment={text}"
    return text


def validated(content: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise explain(error) from error


def planned(content: dict[str, Any]) -> tuple[RunConfig, Plan, Placement]:
    """All that stands between the user's words and rendering; UserError where they are refused."""
    config = validated(content)
    secrets.check_plain(content, {})
    plan = make_plan(config)
    return config, plan, place(config)


def check_slurm(shell: Path, content: dict[str, Any]) -> None:
    """Render, run, and look at what srun was told. Raises UserError where the configuration is refused."""
    config, plan, placement = planned(content)
    workdir = workdir_of(config)
    script = slurm.render([plan], placement, workdir)
    check_options(script, config)
    workdir.mkdir(parents=True, exist_ok=True)
    ran = shell_standins.run(shell, script, **SLURM_VARIABLES)
    assert not ran.canary, script
    said = ran.output + (workdir / config.run.dir / "logs/slurm-77.out").read_text(errors="replace")
    assert ran.code == 0 and "command not found" not in said, said
    told = ran.told("srun")
    assert told is not None and told.cwd == workdir.resolve()
    at = told.words.index("-c") - 1
    assert told.words[:2] == ["--export=ALL", "--kill-on-bad-exit=1"]
    assert config.cluster.slurm is not None
    options = [word for option in config.cluster.slurm.srun_options for word in slurm.option_words(option)]
    assert told.words[at - len(options) : at] == options
    container = [
        word for words in slurm.container(config, placement.image, workdir, [config]) for word in words
    ]
    shown = share.shown_devices(config)
    assert told.words[at + 5 :] == [
        *shown,
        *container,
        "slipway",
        "train",
        "--plan",
        f"{config.run.dir}/job_plan.json",
    ]
    for name, value in slurm.environment(config).items():
        assert told.environment[name] == value
    own = [word for option in config.cluster.container.options for word in slurm.option_words(option)]
    for word in (placement.image, *config.cluster.container.binds, *own):
        assert word in told.words
    check_plan_json(workdir / config.run.dir / "job_plan.json", plan)
    if config.cluster.container.modules:
        module = ran.told("module")
        assert module is not None and module.words == ["load", config.cluster.container.modules[-1]]
    following = ran.told("sbatch")
    assert following is not None and f"--exclude={','.join(sorted(config.launch.exclude))}" in following.words


def check_options(script: str, config: RunConfig) -> None:
    """#SBATCH lines are those that were meant: one word each, before the first command, in one block."""
    lines = script.split("\n")
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line.removeprefix("#SBATCH ") for line in lines[:first] if line.startswith("#SBATCH")]
    assert config.cluster.slurm is not None
    own = config.cluster.slurm.sbatch_options
    mine = options[: len(options) - len(own)] if own else options
    values = {}
    for option in mine:
        (word,) = shlex.split(option)
        name, _, value = word.partition("=")
        assert name not in values
        values[name] = value
    assert values["--job-name"] == config.run.name
    assert values["--output"] == f"{workdir_of(config)}/slurm-%j.out"
    assert values.get("--partition", "booster") in (
        config.launch.partition or "booster",
        *_partitions(config),
    )
    assert [option.strip() for option in options[len(mine) :]] == [" ".join(one.split()) for one in own]
    assert set(values) <= {
        *(
            "--job-name",
            "--account",
            "--partition",
            "--qos",
            "--nodes",
            "--ntasks-per-node",
            "--cpus-per-task",
        ),
        *("--gres", "--gpus-per-node", "--gpus", "--mem", "--constraint", "--exclude", "--time", "--signal"),
        *("--open-mode", "--output", "--exclusive", "--no-requeue", "--requeue"),
    }


def _partitions(config: RunConfig) -> list[str]:
    assert config.cluster.slurm is not None
    return [queue.partition for queue in config.cluster.slurm.queues.values() if queue.partition]


def check_plan_json(path: Path, plan: Plan) -> None:
    assert path.read_text(encoding="utf-8") == plan_file.to_text(plan)
    assert plan_file.read(path) == plan


def check_local(shell: Path, content: dict[str, Any]) -> None:
    config, plan, placement = planned(content)
    workdir = workdir_of(config) if config.launch.workdir else shell / "work"
    script = local.render([plan], placement, workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    ran = shell_standins.run(shell, script)
    assert not ran.canary, script
    assert ran.code == 0 and "command not found" not in ran.output, ran.output
    program = config.cluster.container.runtime if config.launch.image else "slipway"
    told = ran.told(program)
    assert told is not None and told.words[-3:] == ["train", "--plan", f"{config.run.dir}/job_plan.json"]
    for name, value in config.cluster.environment.items():
        assert told.environment[name] == value
    check_plan_json(workdir / config.run.dir / "job_plan.json", plan)


def check_sweep(shell: Path, base: dict[str, Any], content: dict[str, Any]) -> None:
    """The second job of an array: job_plan.json is the first one's, and its words make it the second's."""
    first, second = planned(base), planned(put(content, ("run", "dir"), content["run"]["dir"] + "-2"))
    workdir = workdir_of(first[0])
    script = slurm.render([first[1], second[1]], first[2], workdir)
    variables = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1", **SLURM_VARIABLES}
    ran = shell_standins.run(shell, script, **variables)
    assert not ran.canary, script
    told = ran.told("srun")
    assert told is not None, (workdir / second[0].run.dir, ran.output)
    changes = told.words[told.words.index("--plan") + 2 :]
    path = workdir / second[0].run.dir / "job_plan.json"
    assert plan_file.read(path, changes) == second[1]


def check_cloud(content: dict[str, Any], kind: str) -> None:
    """The text is the data, and the pod is told what the configuration says."""
    config, plan, placement = planned(put(content, ("launch", "kind"), kind))
    data = kubernetes.manifests([plan], placement)
    text = kubernetes.to_text(data)
    assert list(yaml.load_all(text, LOADER)) == data
    assert text.isascii()
    (map_,) = [one for one in data if one["kind"] == "ConfigMap"]
    assert map_["data"]["plan.json"] == plan_file.to_text(plan)
    containers = list(_containers(data))
    assert containers
    for container in containers:
        given_ = {one["name"]: one.get("value") for one in container.get("env", [])}
        for name, value in config.cluster.environment.items():
            assert _expanded(given_[name]) == value
        assert container["image"] == placement.image


def _expanded(text: str | None) -> str:
    """What Kubernetes makes of a value in which no variable stands: $$ is $."""
    assert text is not None
    assert "$(" not in text.replace("$$", "")
    return text.replace("$$", "$")


def _containers(node: Any) -> Any:
    """All containers, wherever a kind puts them."""
    if isinstance(node, dict):
        if "image" in node and "env" in node:
            yield node
        for value in node.values():
            yield from _containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from _containers(value)


def test_the_walk_finds_what_is_there() -> None:
    """Some places by name, so that an empty walk is no success; all others follow from the schema."""
    found = {named(place) for place in PLACES}
    assert len(found) > 60
    assert {
        *(
            "run.name",
            "run.dir",
            "data.dir",
            "data.sources.{}",
            "data.sources.[].inputs.[]",
            "launch.account",
        ),
        *(
            "cluster.environment.{}",
            "cluster.environment.[]",
            "cluster.container.binds.[]",
            "cluster.notes.[]",
        ),
        *("cluster.slurm.queues.[].partition", "cluster.kubernetes.annotations.[]", "logging.wandb.project"),
    } <= found
    assert not {name for name in found if name.endswith((".runtime", ".kind", ".precision"))}


@pytest.mark.parametrize("text", NASTY, ids=repr)
def test_one_text_everywhere(shell: Path, text: str) -> None:
    """Each place refuses the text in one line or takes it; all that take it are rendered together and survive."""
    for words, check in ((SLURM, check_slurm), (LOCAL, check_local)):
        content = plain(words)
        content["launch"]["workdir"] = str(shell / "work")
        taken = 0
        for place_ in PLACES:
            tried = put(content, place_, within(place_, text, shell / "work"))
            try:
                config, plan, placement = planned(tried)
                render = slurm.render if check is check_slurm else local.render
                render([plan], placement, workdir_of(config))
            except UserError as error:
                assert_one_line(error)
            else:
                content, taken = tried, taken + 1
        check(shell, content)
        assert taken
    for kind in ("job", "jobset", "trainjob"):
        content = plain(CLOUD)
        for place_ in PLACES:
            tried = put(content, place_, within(place_, text, Path("/workspace")))
            try:
                check_cloud(tried, kind)
            except UserError as error:
                assert_one_line(error)
            else:
                content = tried


def assert_one_line(error: UserError) -> None:
    """As the command line prints it: something that a terminal shows and does not obey."""
    shown = secrets.in_one_line(error)
    assert shown and not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)


COMMON = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(COMMON, max_examples=80)
@given(place_=st.sampled_from(PLACES), text=TEXT)
@example(("run", "dir"), "$(canary)")
@example(("cluster", "name"), "x\n#SBATCH --partition=evil")
@example(("cluster", "environment", KEY), "X=y; canary; Z")
def test_any_text_in_slurm_scripts(shell: Path, place_: tuple, text: str) -> None:
    assume(".." not in text and "~" not in text[:1])
    content = plain_slurm(shell)
    tried = put(content, place_, within(place_, text, shell / "work"))
    try:
        check_slurm(shell, tried)
        if place_[0] not in ("cluster", "launch"):
            check_sweep(shell, content, tried)
    except UserError as error:
        assert_one_line(error)


@settings(COMMON, max_examples=400)
@given(place_=st.sampled_from(PLACES), text=TEXT, kind=st.sampled_from(["job", "jobset", "trainjob"]))
def test_any_text_in_manifests(place_: tuple, text: str, kind: str) -> None:
    try:
        check_cloud(put(plain(CLOUD), place_, text), kind)
    except UserError as error:
        assert_one_line(error)


def plain_slurm(shell: Path) -> dict[str, Any]:
    content = plain(SLURM)
    content["launch"]["workdir"] = str(shell / "work")
    return content


def test_plan_json_is_what_jobs_read(shell: Path) -> None:
    """Heredoc and all: the script's copy, byte for byte, of a run with every nasty text in its notes and sources."""
    content = plain_slurm(shell)
    texts = [text for text in NASTY if "\ud800" not in text and "\0" not in text]
    content["cluster"]["notes"] = texts
    content["data"]["sources"]["stdlib"]["inputs"] = [text for text in texts if text]
    check_slurm(shell, content)
    path = shell / "work" / content["run"]["dir"] / "job_plan.json"
    assert json.loads(path.read_text())["config"]["cluster"]["notes"] == texts
