"""Print the tables of docs/planner-memory.md: errors of the peak by source and half, and the rows that are far off.

PYTHONPATH=platform:tests python tests/published/memory_table.py
"""

from collections import defaultdict
from statistics import mean, median, quantiles

from published.cases import case_of
from published.memory import FAR, counted_as, errors, measured, planned_gib


def main() -> None:
    """Print both as Markdown."""
    rows = measured()
    found = errors(rows)
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        for source in (row.source, "all"):
            groups[source, row.half].append(found[row.name])
    print("| source | half | rows | bias | median | nine of ten | worst |\n|---|---|---|---|---|---|---|")
    for (source, half), errs in sorted(groups.items()):
        sizes = sorted(map(abs, errs))
        ninth = quantiles(sizes, n=10, method="inclusive")[-1] if len(sizes) > 1 else sizes[0]
        print(
            f"| {source} | {half} | {len(errs)} | {mean(errs):+.1%} | {median(sizes):.1%} | {ninth:.1%} | "
            f"{sizes[-1]:.1%} |"
        )
    print("\n| row | model | counted | measured (GiB) | planned (GiB) | error |\n|---|---|---|---|---|---|")
    for row in rows:
        if abs(found[row.name]) > FAR:
            case = case_of(row)
            print(
                f"| {row.name} | {row.text('model')} | {counted_as(case)} | {row.peak_gib} | {planned_gib(case):.1f} | "
                f"{found[row.name]:+.0%} |"
            )


if __name__ == "__main__":
    main()
