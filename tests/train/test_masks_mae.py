"""The masks that ranks really draw: of a sample the same in every layout, on every rank, and after a continuation."""

import json
from pathlib import Path

import pytest

import chips
from training import layout, train_in_one_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOTED = Path(__file__).parents[1] / "noted_masks.py"
Masks = dict[int, list[int]]


def masks(run_dir: Path, least: int) -> Masks:
    """The visible patches by the sample's seed; all of at least so many processes that drew masks agree."""
    files = list((run_dir / "masks").iterdir())
    assert len(files) >= least
    found: Masks = {}
    for file in files:
        for line in file.read_text().splitlines():
            seed, visible = json.loads(line)
            assert found.setdefault(seed, visible) == visible
    return found


def test_a_sample_is_masked_alike_in_all_layouts_and_after_continuations(tmp_path: Path) -> None:
    words = [*chips.TINY, *chips.write(tmp_path / "chips"), "training.steps=4", "checkpoint.interval=2"]
    first, second = layout(ranks=4, tp=2, pp=2, sp=True), layout(ranks=4, pp=2, mbs=2)
    one, other = tmp_path / "one", tmp_path / "other"
    jobs = [
        [*words, *layout(ranks=1), f"run.dir={one}"],
        [*words, *first, f"run.dir={other}", "training.stop_after_step=2"],
        [*words, *second, f"run.dir={other}"],
    ]
    assert train_in_one_process(jobs, tmp_path / "codes", NOTED) == [0, 0, 0]
    expected = masks(one, 1)
    assert masks(other, 4 + 4) == expected, "the first and the last stage, of either layout"
    samples, visible = (
        4 * 8 + 8,
        2 * 16 // 4,
    )  # four steps, and validation, which has the same samples each time
    assert len(expected) == samples
    assert all(len(patches) == visible for patches in expected.values())
    assert len({tuple(patches) for patches in expected.values()}) > samples - 3, "and others differently"
