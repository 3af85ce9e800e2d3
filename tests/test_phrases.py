"""Phrases that are not used are found, also over the ends of lines, and nowhere in the repository."""

import phrases


def test_none_is_in_the_repository() -> None:
    assert not list(phrases.everywhere())


def test_one_is_found_over_the_end_of_a_line_and_of_a_literal() -> None:
    assert [found[:2] for found in phrases.found("a\nIt Stands\nstill, and")] == [(2, "Stands still")]
    (line,) = phrases.found('        f"it goes "\n        f"on with a text"')
    assert line[0] == 1 and line[2] == "continue"
    assert not list(phrases.found("It blocks, and continues."))


def test_the_glossary_may_name_them() -> None:
    row = "| hang, block | make no progress | stand still |"
    assert list(phrases.found(row)) and not list(phrases.found(phrases.without_glossary(row)))
