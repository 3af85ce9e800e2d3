import pytest

from slipway.bench import startup
from slipway.errors import UserError


def test_answers_come_from_real_commands():
    for words in startup.ANSWERS.values():
        assert 0 < startup.seconds_of(words) < 60


def test_a_failing_command_is_named_with_its_last_word():
    with pytest.raises(UserError, match=r"`slipway nonsense` ended with 2: slipway: nonsense: no such verb"):
        startup.slipway(["nonsense"])
