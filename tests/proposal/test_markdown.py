from pathlib import Path

from refusals import refused
from slipway.proposal.document import Document, Figure, Heading, Paragraph, Table
from slipway.proposal.markdown import render


def document(**answers: str) -> Document:
    found = Document("A title", answers)
    found.add(Heading("One"), Paragraph("a_b *c* <d>"), Table(("x", "y"), [("1|2", "3")], numbers=True))
    found.ask("first", "what is first")
    found.ask("second", "what is second")
    found.add(Figure(Path("folder/picture.png"), "A picture"), Table((), [("name", "value")]))
    return found


def test_text_stays_text() -> None:
    lines = render(document()).splitlines()
    assert lines[0] == "# A title" and "## One" in lines
    assert r"a\_b \*c\* \<d\>" in lines
    at = lines.index("| x | y |")
    assert lines[at + 1 : at + 3] == ["| --- | ---: |", r"| 1\|2 | 3 |"]
    assert "![A picture](picture.png)" in lines  # it lies beside the text


def test_gaps_are_numbered_and_answers_fill_them() -> None:
    assert [(gap.number, gap.name) for gap in document().gaps] == [(1, "first"), (2, "second")]
    answered = document(first="The answer")
    assert [(gap.number, gap.name) for gap in answered.gaps] == [(1, "second")]
    text = render(answered)
    assert "The answer" in text and "what is first" not in text and "TO FILL IN 1: what is second" in text


def test_an_answer_to_nothing_is_refused() -> None:
    with refused("answers.yaml", "third", use=["first", "second"]):
        document(third="?").check_answers(Path("answers.yaml"))
