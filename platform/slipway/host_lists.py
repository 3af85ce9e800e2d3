"""Lists of nodes in Slurm's notation: n[1-3,7]."""

import re
from collections.abc import Iterable, Sequence

_GROUPS = re.compile(r"(?:[^,\[]|\[[^\]]*\])+")
_BRACKET = re.compile(r"\[([^\]]*)\]")
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def expand(names: str) -> list[str]:
    """Return the names in a list: `a[1-2,5],b` becomes a1, a2, a5, b; leading zeros stay."""
    return [name for group in _GROUPS.findall(names) for name in _expand_one(group)]


def _expand_one(group: str) -> list[str]:
    found = _BRACKET.search(group)
    if found is None:
        return [group]
    heads = []
    for part in found[1].split(","):
        first, dash, last = part.partition("-")
        if dash and first.isdecimal() and last.isdecimal():
            heads += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        else:
            heads.append(part)
    before, after = group[: found.start()], group[found.end() :]
    return [name for head in heads for name in _expand_one(f"{before}{head}{after}")]


def fold(names: Iterable[str]) -> str:
    """Return the names as one short list: n1, n2, n3 become n[1-3]."""
    numbers: dict[tuple[str, str, int], list[int]] = {}
    alone: list[str] = []
    for name in dict.fromkeys(names):
        found = _NUMBERED.fullmatch(name)
        if found is None:
            alone.append(name)
            continue
        width = len(found[2]) if found[2].startswith("0") else 0
        numbers.setdefault((found[1], found[3], width), []).append(int(found[2]))
    return ",".join([*(_one(*key, sorted(values)) for key, values in numbers.items()), *alone])


def _one(before: str, after: str, width: int, numbers: Sequence[int]) -> str:
    text = ranges(numbers, width)
    plain = len(numbers) == 1
    return f"{before}{text}{after}" if plain else f"{before}[{text}]{after}"


def ranges(numbers: Iterable[int], width: int = 0) -> str:
    """Return whole numbers as ranges, such as `0-3,8`."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    words = (f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in spans)
    return ",".join(words)


def of_ranks(node_list: str, tasks_per_node: str) -> list[str]:
    """Return the node of each rank in a Slurm step with block distribution; empty if the two do not fit together.

    tasks_per_node: the value of SLURM_STEP_TASKS_PER_NODE, such as `4(x2),2`.
    """
    counts = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks_per_node):
        counts += [int(tasks)] * int(times or 1)
    nodes = expand(node_list)
    if len(nodes) != len(counts):
        return []
    return [node for node, count in zip(nodes, counts, strict=True) for _ in range(count)]
