"""The results of `slipway evaluate` for a run, over its steps."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from slipway.models.evaluation import Result


def by_name(results: Sequence[Result]) -> list[list[Result]]:
    """Return the results of each evaluation, by step; `results` are sorted by name and step."""
    return [list(group) for _, group in groupby(results, key=lambda one: one.name)]


def measures_of(results: Sequence[Result]) -> list[str]:
    """Return the measures of an evaluation, in the order in which they appear."""
    return list(dict.fromkeys(score.measure for one in results for score in one.scores))


def things_of(results: Sequence[Result]) -> list[str]:
    """Return the names of what was measured, in the order in which they appear."""
    return list(dict.fromkeys(score.what for one in results for score in one.scores))


def curve(results: Sequence[Result], what: str, measure: str) -> tuple[list[int], list[float]]:
    """Return the steps, and the means of one measure of one thing at them."""
    found = [
        (one.step, score.mean)
        for one in results
        for score in one.scores
        if (score.what, score.measure) == (what, measure)
    ]
    return [step for step, _ in found], [value for _, value in found]


def sentences(results: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each evaluation: how each measure of its most important part has changed."""
    for group in by_name(results):
        first, last = group[0].step, group[-1].step
        when = f"step {last:,}" if first == last else f"steps {first:,} to {last:,}"
        what = group[-1].headline or things_of(group)[-1]
        ends = []
        for measure in measures_of(group):
            values = curve(group, what, measure)[1]
            if values:
                shown = f"{values[0]:.4g} → {values[-1]:.4g}" if len(values) > 1 else f"{values[0]:.4g}"
                ends.append(f"{words(measure)} {shown}")
        more = f" ({what})" if len(things_of(group)) > 1 else ""
        yield f"{group[-1].title}{more}, {when}: {', '.join(ends)}"


def words(measure: str) -> str:
    """Return a measure's name as people read it."""
    return measure.replace("_", " ")
