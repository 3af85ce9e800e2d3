"""The property of the table: each option in it is parsed, shown and completed, and nothing else is accepted."""

from collections.abc import Iterator

import pytest

from refusals import refused
from slipway.cli import main
from slipway.errors import UserError
from slipway.verbs import help
from slipway.verbs.completion import own_choices
from slipway.verbs.configured import GENERAL, HELP, HYDRA
from slipway.verbs.declare import Argument, Option, Verb
from slipway.verbs.parse import names, parse, parser_of
from slipway.verbs.table import VERBS


def commands() -> Iterator[tuple[list[str], Verb]]:
    """The words of every verb and action, and what the table says of it."""
    for verb, described in VERBS.items():
        if not described.actions or described.alone:
            yield [verb], described
        for action, one in described.actions.items():
            yield [verb, action], one._replace(takes=described.takes or one.takes)


COMMANDS = list(commands())
OPTIONS = [(words, verb, option) for words, verb in COMMANDS for option in verb.options]


def typed(option: Option, spelling: str) -> list[str]:
    """The option as a user types it, with a value that it accepts."""
    if not option.value:
        return [spelling]
    for value in (*option.choices, "7", "0.5", "some.text", "5GB"):
        try:
            option.read(value)
        except Exception:
            continue
        return [f"{spelling}{value}"] if option.is_word else [spelling, value]
    raise AssertionError(f"no value for {option.name}")


def argument_of(verb: Verb) -> list[str]:
    run = ["run.dir=here"] if verb.takes == "run" else []
    return run + ([] if verb.argument is None else ["word"] * verb.argument.least)


@pytest.mark.parametrize(
    ("words", "verb", "option"),
    OPTIONS,
    ids=[" ".join([*words, option.name]) for words, _, option in OPTIONS],
)
def test_an_option_is_parsed_shown_and_completed(words: list[str], verb: Verb, option: Option) -> None:
    bare = parse(words[0], [*words[1:], *argument_of(verb)])
    assert getattr(bare.options, option.key) == (option.default if option.value else False)
    for spelling in names(option):
        given = typed(option, spelling)
        for order in ([*given, *argument_of(verb)], [*argument_of(verb), *given]):
            parsed = parse(words[0], [*words[1:], *order])
            value = given[-1].removeprefix(spelling) if option.is_word else given[-1]
            assert getattr(parsed.options, option.key) == (option.read(value) if option.value else True)
            assert parsed.overrides == []
        if words[1:]:  # an option may come before the action
            assert parse(words[0], [*given, *words[1:], *argument_of(verb)]).options.action == words[1]
    text = help.of_action(*words) if words[1:] else help.of_verb(words[0])
    assert option.shown in text
    assert option.shown in help.of_verb(words[0])
    assert option.name in (own_choices(" ".join(["slipway", *words, option.name[:3]])) or [])


@pytest.mark.parametrize(("words", "verb"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_nothing_else_is_accepted(words: list[str], verb: Verb, capsys) -> None:
    known = {spelling for option in verb.options for spelling in names(option) if not option.is_word}
    assert set(parser_of("x", verb)._option_string_actions) == known
    everything = {name for _, _, option in OPTIONS for name in names(option) if not option.is_word}
    everything |= {"--no-such", "-z"}
    hydra = {name for option in HYDRA for name in names(option)} if verb.takes == "configuration" else set()
    for name in sorted(everything - known - hydra):
        with refused(" ".join([*words, name])):
            parse(words[0], [*words[1:], *argument_of(verb), name])
    if verb.options:
        shortened = next(option.name for option in verb.options if not option.is_word)[:-1]
        with pytest.raises(UserError):
            parse(words[0], [*words[1:], *argument_of(verb), shortened])
    completed = own_choices(" ".join(["slipway", *words, "-"])) or []
    assert set(completed) == {name for name in known | hydra | {"--help"} if name.startswith("--")}


def test_hydras_options_are_those_of_the_table(capsys) -> None:
    """Hydra's own parser knows more, such as one that loads a pickle."""
    from hydra._internal.utils import get_args_parser

    theirs = set(get_args_parser()._option_string_actions)
    ours = {name for option in (*HYDRA, *GENERAL) for name in names(option)}
    shown = help.of_verb("plan")
    assert {name for option in HYDRA for name in names(option)} <= theirs
    assert all(option.name in shown for option in (*HYDRA, HELP))
    for name in sorted(theirs - ours):
        assert main(["plan", name]) == main(["--cfg", "job", name]) == 2, name
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2 and all(f"{name}: " in line for line in lines)


def test_an_option_of_another_action_names_that_action() -> None:
    with refused("image sign --gzip", use="`image sif`"):
        parse("image", ["sign", "a.sif", "--gzip"])


def test_arguments_are_counted() -> None:
    assert parse("clusters", []).options.name is None
    assert parse("clusters", ["--json", "lumi_g"]).options.name == "lumi_g"
    assert parse("bench", ["train", "--steps", "2", "a=1", "~b"]).options.overrides == ["a=1", "~b"]
    for words in (
        ["clusters", "a", "b"],
        ["runs", "show"],
        ["runs", "show", "a", "b"],
        ["image", "build", "a"],
    ):
        with pytest.raises(UserError):
            parse(words[0], words[1:])


def test_a_value_may_look_like_an_action() -> None:
    parsed = parse("runs", ["--dir", "show", "logs", "show"])
    assert (parsed.options.action, parsed.options.name, str(parsed.options.dir)) == ("logs", "show", "show")


@pytest.mark.parametrize(
    ("line", "acts"),
    [
        ("train", True),
        ("train --dry-run", False),
        ("train --cfg job", False),
        ("launch", False),
        ("launch --submit", True),
        ("doctor", True),
        ("doctor --bad-nodes", False),
        ("runs", False),
        ("runs cancel x", True),
        ("runs cancel x --dry-run", False),
        ("image verify a.sif", False),
        ("image sign a.sif", True),
        ("bench train --json", False),
    ],
)
def test_whether_a_command_acts(line: str, acts: bool) -> None:
    verb, *words = line.split()
    assert parse(verb, words).acts is acts


def test_the_table_is_sound() -> None:
    for words, verb in COMMANDS:
        spellings = [name for option in verb.options for name in names(option)]
        assert len(spellings) == len(set(spellings)), words
        assert all(
            option.help and (option.is_word or option.name.startswith("--")) for option in verb.options
        )
        assert isinstance(verb.argument, Argument | None)
        assert verb.summary
