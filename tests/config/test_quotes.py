"""The quotes that a message proposes give the value that was meant."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hypothesis import assume, given
from hypothesis import strategies as st

from slipway.config.compose import compose
from slipway.config.quotes import as_text, unparsed
from slipway.config.sweep_compose import compose_sweep
from slipway.errors import UserError

TEXT = st.text(st.sampled_from(list("ab/=,.:\\\"' é<>(){}[]#$&*|~-1")), min_size=1, max_size=12)


def parse(word: str) -> object:
    return OverridesParser.create().parse_overrides([word])[0].value()


def proposed(message: str) -> str:
    """The word that the message ends with, as a shell reads it."""
    [word] = shlex.split(message.partition("write it in quotes, ")[2])
    return word


@given(TEXT)
def test_what_is_proposed_is_what_was_meant(value: str) -> None:
    word = f"run.dir={value}"
    try:
        parse(word)
        assume(False)
    except OverrideParseException as error:
        message = str(unparsed(word, str(error.message)))
    assert message.startswith(f"{word}: ")
    if value[0] in "[{":  # no text but a list, whose items are proposed in quotes, or nothing
        return
    if value[0] == value[-1] and value[0] in "\"'" and len(value) > 1:
        return  # in quotes already, and wrong within
    assert parse(proposed(message)) == value


@pytest.mark.parametrize("value", [True, False, None, 5, 1e-9, "a,b", 'a"b', "a\\", "é = (1)"])
def test_as_text(value: object) -> None:
    found = parse(as_text("run.dir", value))
    assert isinstance(found, str)
    assert found.lower() == str({None: "null"}.get(value, value)).lower()  # type: ignore[call-overload]


def test_a_list_is_quoted_item_by_item() -> None:
    word = "data.sources.files.inputs=[a(1).txt,b.txt]"
    with pytest.raises(OverrideParseException) as error:
        parse(word)
    assert parse(proposed(str(unparsed(word, str(error.value.message))))) == ["a(1).txt", "b.txt"]


@pytest.mark.parametrize("call", [compose, compose_sweep])
def test_everywhere(call) -> None:
    for name in ("runs/lr=1", "runs/demo,lr=1,seed=2"):
        with pytest.raises(UserError) as error:
            call([f"run.dir={name}"])
        assert error.value.path == f"run.dir={name}"
        assert proposed(str(error.value)) == f'run.dir="{name}"'
    assert str(compose(['run.dir="runs/demo,lr=1"']).run.dir) == "runs/demo,lr=1"
    assert [str(one.run.dir) for one in compose_sweep(['run.dir="a=1","b,2"'])] == ["a=1", "b,2"]
