"""The field parallelism.pipeline_layout: a list of numbers, or text in Megatron-core's notation. Pure."""

import re
from typing import Annotated

from pydantic import BeforeValidator, NonNegativeInt

_TIMES = r"(?:\*(\d{1,3}))?"
_ONE = rf"([EtL|]){_TIMES}"
_GROUP = rf"\(((?:{_ONE})+)\){_TIMES}"


def _unrolled(text: str) -> str:
    return "".join(symbol * int(times or 1) for symbol, times in re.findall(_ONE, text))


def _numbers(value: object) -> object:
    """Return the number of layers in each model chunk, from Megatron-core's notation of pipeline layouts.

    In pipeline_model_parallel_layout, E, t and L are the embedding, a layer, and the head with its loss; | ends a
    chunk, *n repeats what is before it, a letter or a group in parentheses; commas are ignored. Raises ValueError if
    the text is not in this notation.
    """
    if not isinstance(value, str):
        return value
    words = re.sub(r"[,\s]", "", value)
    whole = ""
    while words:
        group, one = re.match(_GROUP, words), re.match(_ONE, words)
        if group:
            whole += _unrolled(group[1]) * int(group[4] or 1)
        elif one:
            whole += _unrolled(one[0])
        else:
            raise ValueError(
                f"must be E, t, L, |, (...) and *1 to *999, as Et*3|(t*4|)*2,t*3L; {words!r} is not"
            )
        words = words[(group or one).end() :]  # type: ignore[union-attr]
    if not re.fullmatch(r"E[t|]*L", whole):
        raise ValueError("must begin with E and end with L, and have one of each, as Et*3|t*4|t*3L")
    return [chunk.count("t") for chunk in whole.split("|")]


PipelineLayout = Annotated[list[NonNegativeInt], BeforeValidator(_numbers)]
