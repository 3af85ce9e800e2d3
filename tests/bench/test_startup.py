from refusals import refused
from slipway.bench import startup


def test_answers_come_from_real_commands():
    for words in startup.ANSWERS.values():
        assert 0 < startup.seconds_of(words) < 60


def test_a_failing_command_is_named_with_its_last_word():
    with refused("bench startup", "slipway nonsense", 2):
        startup.slipway(["nonsense"])
