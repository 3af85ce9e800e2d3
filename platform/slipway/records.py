"""Errors in records that are read back from files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def first_problem(error: "ValidationError") -> str:
    """Return the first thing that is wrong with a record, after the dotted path of its field, if it has one."""
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
