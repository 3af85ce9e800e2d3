"""What people see of texts that grow side by side."""

import pytest

from slipway.data.text.tokenizer import byte_tokenizer
from slipway.data.text.vocabulary import Vocabulary
from slipway.generate import request
from slipway.generate.show import Terminal, Text, visible
from slipway.models.generation import Said
from slipway.models.text import Reach

BYTES = Vocabulary("tokenizer.json", byte_tokenizer("<e>").to_str(), 256, None)  # type: ignore[arg-type]


def test_texts_come_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [Text(prompt, BYTES, BYTES.encode(prompt)) for prompt in ("a", "b", "c")]
    terminal = Terminal(texts)

    def say(row: int, token: int, end: str | None = None) -> str:
        said = Said(row, token, end)  # type: ignore[arg-type]
        terminal.show(row, texts[row].add(said, asked=3))
        return capsys.readouterr().out

    assert say(0, ord("1")) == "--- 1 of 3\na1"
    assert say(1, ord("x")) == ""
    assert say(1, 256, "token") == ""
    assert say(0, 0xC3) == ""
    assert say(2, ord("y")) == ""
    assert say(0, 0xA9, "length") == "é\n--- 2 of 3\nbx\n--- 3 of 3\ncy"
    assert say(2, ord("z"), "length") == "z\n"
    assert [text.end for text in texts] == ["tokens", "document", "positions"]
    assert [text.tokens for text in texts] == [[49, 0xC3, 0xA9], [120], [121, 122]]
    assert [text.text for text in texts] == ["1é", "x", "yz"]


def test_what_a_model_says_has_no_power_over_a_terminal() -> None:
    assert visible("a\tb\nü東") == "a\tb\nü東"
    shown = visible("".join(map(chr, range(0xA0))))
    assert [c for c in shown if ord(c) < 32 or 127 <= ord(c) < 0xA0] == ["\t", "\n"]


def test_what_is_said_of_long_texts() -> None:
    way = request.way(10, None, None, None, None)
    assert request.beyond(22, way, Reach(32, None)) is None
    assert "32" in (request.beyond(23, way, Reach(32, None)) or "")
    assert "9 tokens" in (request.beyond(23, way, Reach(32, 32)) or "")
