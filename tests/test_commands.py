import os
import sys
import time
from pathlib import Path

import pytest

from slipway import commands


def python(program: str, **more) -> commands.Done:
    return commands.call([sys.executable, "-c", program], **more)


def test_what_a_program_says() -> None:
    program = (
        "import sys; print(sys.stdin.read().upper()); print('first\\n\\nlast', file=sys.stderr); sys.exit(3)"
    )
    done = python(program, given="words")
    assert (done.code, done.output) == (3, "WORDS\n")
    assert (done.last, done.why) == ("last", "first; last")
    assert python("import sys; sys.exit(4)").why == python("import sys; sys.exit(4)").last == "exit code 4"
    assert python("import sys; print(sys.stdin.read() == '')").output == "True\n"


def test_output_that_is_no_text_is_output() -> None:
    assert python("import os; os.write(1, b'a\\xff')").output == "a\ufffd"


def test_variables_are_those_given() -> None:
    given = {**os.environ, "SLIPWAY_TEST_WORD": "here"}
    assert python("import os; print(os.environ['SLIPWAY_TEST_WORD'])", environment=given).output == "here\n"


def test_a_program_that_is_not_there_or_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(commands.Missing, match="no-such-program not found"):
        commands.call(["no-such-program"])
    (tmp_path / "text").write_text("no program")
    with pytest.raises(commands.NotRun, match="Permission denied"):
        commands.call([str(tmp_path / "text")])


def test_a_program_without_an_answer_is_ended(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(commands.NoAnswer):
        python(f"import time; time.sleep(3); open({str(mark)!r}, 'w')", seconds=0.5)
    time.sleep(3)
    assert not mark.exists()
