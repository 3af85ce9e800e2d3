"""Readers of option values for which argparse has no type."""

import argparse
import math
import re


def seconds(text: str) -> float:
    """Return a number of seconds, above 0 and below a day. Raises ArgumentTypeError for anything else."""
    try:
        if 0 < float(text) < 86400:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def rank_count(text: str) -> int | None:
    """Return a number of table rows, at least 2; None for `all`. Raises ArgumentTypeError for anything else."""
    if text == "all":
        return None
    if text.isdecimal() and int(text) >= 2:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither `all` nor a number from 2")


def sizes(text: str) -> list[int]:
    """Return whole numbers, at least 1 and each greater than the one before: `1,2,4`.

    Raises ArgumentTypeError otherwise.
    """
    words = text.split(",")
    if all(word.isdecimal() for word in words):
        found = [int(word) for word in words]
        if all(a < b for a, b in zip([0, *found], found, strict=False)):
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers from 1 that grow, as 1,2,4")


def natural(text: str) -> int:
    """Return a whole number, at least 0. Raises ArgumentTypeError for anything else."""
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")


def steps(text: str) -> list[int]:
    """Return whole numbers, at least 0: `100,200`. Raises ArgumentTypeError for anything else."""
    if all(word.isdecimal() for word in text.split(",")):
        return [int(word) for word in text.split(",")]
    raise argparse.ArgumentTypeError(f"{text!r} is not a list of steps, as 100,200")


def one(text: str) -> list[str]:
    """Return the value of an option that may be repeated, in a list. Raises ArgumentTypeError if it is empty."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return [text]


def names(text: str) -> list[str]:
    """Return the names between commas. Raises ArgumentTypeError if one is empty."""
    if all(word.strip() for word in text.split(",")):
        return [word.strip() for word in text.split(",")]
    raise argparse.ArgumentTypeError(f"{text!r} is not a list of names, as one,two")


def positive(text: str) -> int:
    """Return a whole number, at least 1. Raises ArgumentTypeError for anything else."""
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")


def above_zero(text: str) -> float:
    """Return a number above 0. Raises ArgumentTypeError for anything else."""
    try:
        if 0 < float(text) < math.inf:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def share(text: str) -> float:
    """Return a number above 0 and at most 1. Raises ArgumentTypeError for anything else."""
    try:
        if 0 < float(text) <= 1:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")


def row_count(text: str) -> int | None:
    """Return a number of table rows, at least 1; None for `all`. Raises ArgumentTypeError for anything else."""
    if text == "all":
        return None
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither `all` nor a number from 1")


_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def file_size(text: str) -> int:
    """Return a number of bytes, from text with a unit: `5GB`, `500MB`, `2GiB`.

    Raises ArgumentTypeError for anything else.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMG]i?B)", text, re.IGNORECASE)
    bytes_ = int(float(found[1]) * _SIZES[found[2].upper()]) if found else 0
    if not bytes_:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, as 5GB or 500MB")
    return bytes_
