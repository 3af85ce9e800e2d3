"""What users get wrong with conversations: rows of the table in tests/bad_inputs.py, with their files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_inputs import BadInput
from conversations import CHATML, turns, write_lines, write_tokenizer

GOOD = turns("2+2?", "4")
ASKED = "data.tokenizer.path=tok data.sources.chat.inputs=[a.jsonl] data.dir=d data.sequence_length=64"
READS = f"data data=chat model=demo {ASKED}"

REWRITES = CHATML.replace("{%- endfor", "{% if loop.last %}!{% endif %}{%- endfor")


def _with(*conversations: Any, template: str | None = CHATML) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        write_tokenizer(folder / "tok", template)
        write_lines(folder / "a.jsonl", conversations)

    return prepare


def _lines(text: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _with()(folder)
        (folder / "a.jsonl").write_text(text)

    return prepare


def _alone(folder: Path) -> None:
    write_lines(folder / "a.jsonl", [GOOD])


def _row(name: str, bad: Any, *facts: str) -> BadInput:
    """A second line that is no conversation."""
    where = "FOLDER/a.jsonl, line 2"
    return BadInput(name, READS, where, (*facts, "data.malformed=leave_out"), _with(GOOD, bad))


ROWS = [
    _row("an empty turn", turns("2+2?", ""), "message 2"),
    _row("an unknown role", [*GOOD, {"role": "narrator", "content": "x"}], "narrator", "message 3"),
    BadInput(
        "a file without messages",
        READS,
        "FOLDER/a.jsonl, line 1",
        ("messages", "text"),
        _lines(json.dumps({"text": "x"}) + "\n"),
    ),
    BadInput("no JSON", READS, "FOLDER/a.jsonl, line 1", ("column 2",), _lines("{\n")),
    BadInput("nobody answers", READS, "data.sources.chat", ("FOLDER/a.jsonl, line 1",), _with(turns("2+2?"))),
    BadInput("an empty file", READS, "data.sources.chat.inputs", ("1",), _lines("")),
    BadInput(
        "longer than a sample",
        f"{READS} data.long=refuse",
        "FOLDER/a.jsonl, line 2",
        ("64 + 1 = 65", "data.long=cut"),
        _with(GOOD, turns("2+2?", "4" * 100)),
    ),
    BadInput(
        "no tokenizer",
        READS,
        "data.tokenizer.path",
        ("tok",),
        _alone,
    ),
    BadInput(
        "no template", READS, "data.tokenizer.template", ("chat_template.jinja",), _with(GOOD, template=None)
    ),
    BadInput(
        "a broken template",
        READS,
        "tok/chat_template.jinja",
        ("2",),
        _with(GOOD, template="\n{% for m in %}"),
    ),
    BadInput(
        "a template that leaves the sandbox",
        READS,
        "tok/chat_template.jinja",
        ("__class__",),
        _with(GOOD, template="{{ ''.__class__.__mro__ }}"),
    ),
    BadInput(
        "a template that rewrites turns",
        READS,
        "data.tokenizer.template",
        ("{% generation %}", "FOLDER/a.jsonl, line 1"),
        _with(
            turns("a", "b", "c", "d"),
            template=REWRITES,
        ),
    ),
    BadInput(
        "a template that asks for the date",
        READS,
        "data.tokenizer.date",
        ("null", "2025-01-31"),
        _with(GOOD, template="{{ strftime_now('%Y') }}" + CHATML),
    ),
    BadInput(
        "a date that is none",
        f"{READS} data.tokenizer.date=today",
        "data.tokenizer.date",
        ("today",),
        _with(GOOD),
    ),
    BadInput("training without a share", f"{READS} data.split=[0,1,0]", "data.split", ("0",), _with(GOOD)),
    BadInput(
        "more entries than the embedding",
        f"train data=chat model=demo model.vocab_size=200 validation.steps=0 data.split=[1,0,0] {ASKED}",
        "model.vocab_size",
        ("262", "200"),
        _with(GOOD),
    ),
    BadInput(
        "no conversation for validation",
        f"train data=chat model=demo validation.steps=1 {ASKED}",
        "data.split",
        ("chat", "validation.steps=0"),
        _with(GOOD),
    ),
]
