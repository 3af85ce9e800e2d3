"""The text of `--help`, made from the table; reads the names of the choices in conf/ and imports nothing heavy."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slipway.verbs.configured import HELP, HYDRA
from slipway.verbs.declare import Option, Verb
from slipway.verbs.table import VERBS

WIDTH = 108

_GENERAL = """\
Slipway trains foundation models with Megatron-core: the same run on a laptop, Slurm or Kubernetes.

usage: slipway VERB [options] [override ...]

{verbs}

A configuration is composed from named choices and single values (Hydra overrides):
  model=gpt3_125m          take a choice of the group `model`
  experiment=demo          take a whole set of choices and values
  training.steps=1000      set one value
  +data.sources.mine.inputs=[a.txt]   add a key;  ~key deletes one
  -m optimizer.lr=1e-3,1e-4           run a sweep, one run for each combination

A first run:
  slipway plan  experiment=demo        what it will do, on which rank, in how much memory
  slipway train experiment=demo        do it, in runs/demo
  slipway report demo                  what it achieved, as a table and as a page

More:
  slipway VERB --help                  the verb's options and all choices
  slipway VERB --cfg job [overrides]   the composed configuration; with --resolve, its final values
  eval "$(slipway -sc install=bash)"   completion of verbs, options, groups and keys (also fish)
  slipway --version, --hydra-help

Exit code 0: done; 1: fault; 2: input refused in one line, nothing written;
75: training stopped cleanly before its end (signal, wall time): run the same command to resume."""


def general() -> str:
    """Return the text of `slipway --help`."""
    return _GENERAL.format(verbs=_columns((verb, described.summary) for verb, described in VERBS.items()))


def of_verb(verb: str) -> str:
    """Return the text of `slipway VERB --help`: actions, options, groups and their choices, examples."""
    described = VERBS[verb]
    return _text(verb, described, _options_of_actions(verb, described) if described.actions else None)


def of_action(verb: str, action: str) -> str:
    """Return the text of `slipway VERB ACTION --help`."""
    described = VERBS[verb].actions[action]
    return _text(f"{verb} {action}", described._replace(takes=VERBS[verb].takes or described.takes), None)


def _text(name: str, verb: Verb, options: Mapping[str, Sequence[Option]] | None) -> str:
    configured = verb.takes == "configuration"
    parts = [f"slipway {name}: {verb.summary}", "\n".join(_usage(name, verb))]
    groups = dict(options if options is not None else {"options": verb.options})
    if configured:
        groups["options of the configuration"] = HYDRA
    if options is None or configured:
        groups["options"] = (*groups.get("options", ()), HELP)
    parts += [f"{title}:\n{_option_lines(found)}" for title, found in groups.items() if found]
    if verb.notes:
        parts.append(verb.notes())
    if configured:
        parts += [
            f"groups and choices:\n{_choices()}",
            f"single values (`slipway {name.split()[0]} --cfg job` lists all):\n"
            "  run. resources. training. validation. checkpoint. and the keys of each group",
        ]
    return "\n\n".join([*parts, *([f"examples:\n{verb.examples}"] if verb.examples else [])])


def _usage(name: str, verb: Verb) -> list[str]:
    tail = " [override ...]" if verb.takes == "configuration" else ""
    if not verb.actions:
        return [f"usage: slipway {name}{_words(verb)}{_argument(verb)} [options]{tail}"]
    rows = [(f"slipway {name} [options]{tail}", verb.alone)] if verb.alone else []
    rows += [
        (
            f"slipway {name} {action}{_words(described._replace(takes=verb.takes or described.takes))}"
            f"{_argument(described)} [options]{tail}",
            described.summary,
        )
        for action, described in verb.actions.items()
    ]
    return ["usage:", _columns(rows)]


def _words(verb: Verb) -> str:
    """Return the words that name a run, and the verb's own; empty if the verb takes no run."""
    if verb.takes != "run":
        return ""
    return " ".join(["", "run.dir=DIR", *(option.shown for option in verb.options if option.is_word)])


def _argument(verb: Verb) -> str:
    if verb.argument is None:
        return ""
    shown = verb.argument.shown if verb.argument.most else f"{verb.argument.shown} ..."
    return f" {shown}" if verb.argument.least else f" [{shown}]"


def _options_of_actions(name: str, verb: Verb) -> dict[str, list[Option]]:
    """Return the options of all actions, under the names of those that take them, the most general first."""
    actions = {**({name: verb} if verb.alone else {}), **verb.actions}
    takers: dict[Option, list[str]] = {}
    for action, described in actions.items():
        for option in described.options:
            takers.setdefault(option, []).append(action)
    groups: dict[str, list[Option]] = {}
    for option, found in sorted(takers.items(), key=lambda item: -len(item[1])):
        title = "options" if len(found) == len(actions) else ", ".join(found)
        groups.setdefault(f"options of {title}" if title != "options" else title, []).append(option)
    return groups


def _option_lines(options: Iterable[Option]) -> str:
    return _columns(
        (", ".join(filter(None, (option.short, option.shown))), option.help) for option in options
    )


def _columns(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows as two columns, the second wrapped to the width of a terminal."""
    rows = list(rows)
    indent = max(len(name) for name, _ in rows) + 4
    return "\n".join(f"  {name:<{indent - 2}}{_wrapped(text.split(), indent)}" for name, text in rows)


def _choices() -> str:
    from slipway.config.compose import conf_dir

    return "\n".join(
        f"  {group + '=':<13} {_wrapped(choices, 16)}" for group, choices in groups_of(conf_dir()).items()
    )


def groups_of(folder: Path) -> dict[str, list[str]]:
    """Return Hydra's groups in a folder of configurations, with the choices of each."""
    return {
        group.name: sorted(file.stem for file in group.glob("*.yaml"))
        for group in sorted(folder.iterdir())
        if group.is_dir()
    }


def _wrapped(words: Sequence[str], indent: int) -> str:
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) + 1 > WIDTH - indent:
            lines.append(line)
            line = ""
        line += f" {word}" if line else word
    return f"\n{' ' * indent}".join([*lines, line])
