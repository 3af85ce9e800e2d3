"""Print the tables of docs/planner.md: errors by source and half, the papers' rows, and the rows that are far off.

PYTHONPATH=platform:tests python tests/published/table.py
"""

from published.evaluate import Errors, Outcome, by_source, errors, outcomes
from slipway.plan.step.step import StepSeconds

FAR = 0.2


def main() -> None:
    """Print all tables as Markdown."""
    found = outcomes()
    print("| source | half | rows | bias | mean | median | nine of ten | worst | within 20% |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (source, half), sums in by_source(found).items():
        print(f"| {source} | {half} {_cells(sums)}")
    for half in ("fit", "test"):
        print(f"| all | {half} {_cells(errors(one for one in found if one.case.row.half == half))}")
    print(
        "\n| row | model | devices | layout | measured | predicted | error |\n|---|---|---|---|---|---|---|"
    )
    for one in found:
        if one.case.row.text("set").startswith("megatron-") and "A100" in one.case.row.source:
            print(_row(one))
    print(f"\nrows more than {FAR:.0%} off:\n")
    for one in sorted(found, key=lambda one: one.error):
        if abs(one.error) > FAR:
            print(f"{_row(one)} {_largest(one.step)}")


def _cells(sums: Errors) -> str:
    shares = (sums.mean, sums.median, sums.ninth, sums.worst, sums.within)
    return f"| {sums.rows} | {sums.bias:+.1%} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def _row(one: Outcome) -> str:
    row, grid = one.case.row, one.case.grid
    virtual = one.case.config.parallelism.virtual_stages
    layout = f"TP{grid.tp} PP{grid.pp} VP{virtual} CP{grid.cp} EP{grid.ep} DP{grid.dp}"
    return (
        f"| {row.name} | {row.text('model')} | {row.text('gpus')} {row.text('gpu').split(' ')[0]} | {layout} | "
        f"{one.case.seconds:.3g} s | {one.step.total:.3g} s | {one.error:+.1%} |"
    )


def _largest(step: StepSeconds) -> str:
    parts = sorted(step.parts.items(), key=lambda part: -part[1])[:4]
    return ", ".join(f"{name} {seconds / step.total:.0%}" for name, seconds in parts)


if __name__ == "__main__":
    main()
