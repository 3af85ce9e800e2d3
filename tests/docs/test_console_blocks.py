"""Every command that the documentation shows is one that works, as far as that can be told without its machines.

A command with a configuration is composed and planned, `launch` renders what it would submit, any other has its
options read by its parser; targets of make and files of the repository exist.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import breadth
from console_blocks import DOCUMENTS, ROOT, Block, Command, blocks, files, split
from slipway import cli
from slipway.config import hydra_app
from slipway.config.compose import compose
from slipway.config.hydra_app import parse as parse_hydra
from slipway.config.sweep_compose import compose_sweep
from slipway.errors import UserError
from slipway.plan import make_plan
from slipway.plan.search.request import read as read_request
from slipway.verbs.help import of_action, of_verb
from slipway.verbs.parse import parse
from slipway.verbs.table import VERBS

BLOCKS = {block.where: block for document in DOCUMENTS for block in blocks(document)}
# What a reader has, or is told to make, and this repository has not.
READERS_OWN = {
    *("slipway-cpu.sif", "private.pem", "public.pem", "plan.json", "texts/", "my-texts/"),
    "outputs/proposal/proposal.md",
}
# Programs of others; of their words the paths are looked at, and `slipway` among them.
OTHERS = {
    *("apptainer", "docker", "podman", "srun", "sbatch", "kubectl"),
    *("git", "pip", "pre-commit", "pytest", "read", "printf", "unset"),
    *("cat", "cd", "diff", "echo", "kill", "ls", "python", "sed", "tail", "wait"),
}
MADE = {  # by commands that take minutes
    "slipway image build": ["dist/image/slipway-cpu.tar", "dist/image/slipway-cpu.json"],
    "slipway image sif": ["dist/image/slipway-cpu.sif"],
}


@pytest.fixture(autouse=True)
def _a_readers_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and a home with the profile that docs/clusters.md writes."""
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    (profile,) = re.findall(r"```yaml\n(# ~/sites/cluster/basement.yaml.*?)```", text, re.DOTALL)
    sites = tmp_path / "home" / "sites" / "cluster"
    sites.mkdir(parents=True)
    (sites / "basement.yaml").write_text(profile, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.parametrize("where", BLOCKS)
def test_block(where: str, capfd: pytest.CaptureFixture[str]) -> None:
    for path, content in files(where.partition(":")[0]).items():
        place = Path(path).expanduser()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")
    _check(BLOCKS[where], capfd)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_the_help(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    texts = [of_verb(verb), *(of_action(verb, action) for action in VERBS[verb].actions)]
    shown = "\n".join(text.partition("examples:\n")[2] for text in texts)
    shown = re.sub(r"\\\n\s*", "", shown)
    lines = [re.split(r"\s{3,}", line.strip())[0] for line in shown.splitlines()]
    commands = [
        command for line in lines if "slipway" in line for command in split(f"slipway {verb} --help", line)
    ]
    _check(Block(f"slipway {verb} --help", commands), capfd)


def test_blocks_are_found() -> None:
    """Were the blocks not found, no test above would run."""
    commands = [command for block in BLOCKS.values() for command in block.commands]
    assert len(BLOCKS) >= 20 and len(commands) >= 60
    assert {"README.md", "docs/launch.md"} <= {where.partition(":")[0] for where in BLOCKS}


def _check(block: Block, capfd: pytest.CaptureFixture[str]) -> None:
    made, said = set(READERS_OWN), {}
    for command in block.commands:
        program, *words = command.words
        if program == "make":
            _check_make(command, words)
        elif program == "slipway":
            _check_slipway(command, _in_full(words, said), capfd)
        elif program == ".":
            assert words == [".venv/bin/activate"], command.where
        else:
            assert program in OTHERS, f"{command.where}: is {program} a program that readers have?"
            _check_paths(command, words, made)
            if "slipway" in words[:-1]:  # not: cd slipway
                _check_slipway(command, words[words.index("slipway") + 1 :], capfd)
        made |= {*command.files, *_made_by(command.words)}


def _made_by(words: list[str]) -> list[str]:
    """Files that a command leaves, by those above, and by options for folders."""
    found = [word for at, word in enumerate(words) if at and words[at - 1] == "-d"]
    return found + [
        path for start, paths in MADE.items() if " ".join(words).startswith(start) for path in paths
    ]


def _in_full(words: list[str], said: dict[str, list[str]]) -> list[str]:
    """`slipway VERB ...` stands for the words that the verb was last given in the block."""
    verb, rest = words[0], words[1:]
    if "..." in rest:
        at = rest.index("...")
        given = {word.partition("=")[0] for word in rest}
        rest[at : at + 1] = [word for word in said.get(verb, []) if word.partition("=")[0] not in given]
    said[verb] = rest
    return [verb, *rest]


def _check_make(command: Command, words: list[str]) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, equals, _ = word.partition("=")
        known = rf"^{name}\s*\?=" if equals else rf"^{name}:"
        assert re.search(known, text, re.MULTILINE), f"{command.where}: the Makefile has no {word}"


def _check_paths(command: Command, words: list[str], made: set[str]) -> None:
    for word in words:
        if "=" in word or word.startswith(("/", "$")):
            continue  # of the machine, or a container's
        of_repository = "/" in word and (ROOT / word.partition("/")[0]).is_dir()
        if (of_repository or re.search(r"\.(txt|yaml|json|sh|pem|sif)$", word)) and word not in made:
            beside = (ROOT / command.where).parent / word
            assert (ROOT / word).exists() or beside.exists(), f"{command.where}: there is no {word}"


def _check_slipway(command: Command, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    words = [re.sub(r"^~", str(Path.home()), word) for word in words]
    verb, rest = words[0], words[1:]
    assert verb in VERBS, f"{command.where}: slipway has no verb {verb}"
    parsed = parse(verb, rest)
    refused = next((line for line in command.shown if line.startswith("slipway: ")), None)
    searches = verb == "plan" and parsed.options.action == "search"
    if searches and not breadth.ALL:  # of each seconds; tests/plan/search has some
        error = _once(("plan", "search", *parsed.overrides), lambda: _requested(parsed.overrides))
    elif verb in ("launch", "clusters") or searches:  # they print; nothing is submitted
        dry = [verb, *(word for word in rest if word != "--submit")]
        error = _once(tuple(dry), lambda: _printed(dry, capfd))
    elif getattr(parsed.options, "run", None) or getattr(parsed.options, "plan", None):
        error = None  # overrides of a file that another command leaves
    elif VERBS[verb].takes == "configuration":
        planned = verb in ("plan", "train")
        words = [word.replace("model=auto", "model=demo") for word in parsed.overrides]  # what a folder says
        error = _once((planned, *words), lambda: _composed(words, planned))
    else:
        error = None
    assert error == refused, f"{command.where}: {error}"


def _printed(words: list[str], capfd: pytest.CaptureFixture[str]) -> str | None:
    """Run a command; the line in which it refuses."""
    capfd.readouterr()
    code = cli.main(words)
    error = capfd.readouterr().err.rstrip("\n")
    return error if code else None


def _composed(words: list[str], planned: bool) -> str | None:
    """Compose and plan, as `slipway plan` does; the line in which it refuses."""
    asked = parse_hydra(words)
    folder = asked.config_dir
    try:
        if asked.multirun:
            every = compose_sweep(asked.overrides, folder)
        else:
            every = [compose(asked.overrides, Path(folder) if folder else None)]
        for config in every if planned else ():  # a doctor or a preparation needs no layout
            if breadth.ALL or not config.auto:  # seconds, too
                make_plan(config)
    except UserError as error:
        return f"slipway: {error}"
    return None


def _requested(words: list[str]) -> str | None:
    """Read what is to be searched and compose all but that; the line in which it is refused."""
    try:
        request = read_request(words)
        every: list[list[tuple[int, int]]] = []
        assert (
            hydra_app.run(
                request.words, lambda config: every.append(request.shapes(config)) or 0, trains=False
            )
            == 0
        )
        assert all(every)
    except UserError as error:
        return f"slipway: {error}"
    return None


_ERRORS: dict[tuple[object, ...], str | None] = {}


def _once(words: tuple[object, ...], run: Callable[[], str | None]) -> str | None:
    """What was refused, once for all places that show a command."""
    key = tuple(str(word).replace(str(Path.home()), "~") for word in words)
    if key not in _ERRORS:
        _ERRORS[key] = run()
    return _ERRORS[key]
