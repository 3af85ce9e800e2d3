"""Rows of a tile cut into chips: scene by scene in the order of time, with each file read once."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.data.imagery.chip import NODATA, Chip
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.scenes import rasters
from slipway.data.imagery.scenes.dates import Series
from slipway.data.imagery.scenes.model import BadScene, Scene
from slipway.data.imagery.scenes.read import read_bands, read_mask
from slipway.data.imagery.scenes.tiles import Unit
from slipway.errors import UserError
from slipway.files import write_whole

if TYPE_CHECKING:
    pass

UNMEASURED = "measured too little"
CLOUDED = "under too many clouds"
FEW_DATES = "with too few dates that fit"


@dataclass
class Report:
    """The outcome of a unit."""

    chips: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """The scenes that could not be read, with the reason."""
    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)
    """For each scene, the number of windows by outcome: usable, UNMEASURED, CLOUDED."""
    windows: dict[str, int] = field(default_factory=dict)
    """The number of windows that gave no chip, by reason."""


def report_path(part: Path) -> Path:
    """Return the path of a part's report."""
    return part.with_name(f"{part.name}.json")


def read_report(part: Path) -> Report:
    """Return the report of a part that is done."""
    return Report(**json.loads(report_path(part).read_text(encoding="utf-8")))


def cut_unit(unit: Unit, data: Data, part: Path) -> Report:
    """Write the chips of a unit into a part, and return its report, which is written too.

    Raises UserError if a bad scene is refused.
    """
    from slipway.data.imagery.shards import PartWriter

    layout = Layout(data.num_frames, len(data.bands), data.chip_size)
    with rasters.library(), PartWriter(part, layout) as writer:
        cutting = _Cutting(unit, data)
        for chip in cutting.chips():
            writer.add(chip)
        report = cutting.report()
        # before the part vouches for itself
        write_whole(report_path(part), json.dumps(vars(report)))
    return report


class _Window:
    """A window, and the chip that is being collected for it."""

    def __init__(self, row: int, column: int, data: Data) -> None:
        import numpy as np

        size = data.chip_size
        self.row, self.column = row, column
        self.series = Series(data.num_frames, data.gap_days)
        self.pixels = np.empty((data.num_frames, len(data.bands), size, size), np.int16)
        self.facts: list[tuple[float, float, str]] = [(0.0, 0.0, "")] * data.num_frames
        self.chips = 0
        self.seen: Counter[str] = Counter()


class _Cutting:
    def __init__(self, unit: Unit, data: Data) -> None:
        self.unit, self.data = unit, data
        self.top = unit.first * data.chip_size
        self.end = unit.end * data.chip_size
        self.windows = [_Window(row, column, data) for row, column in sorted(unit.grounds)]
        self.failed: dict[str, str] = {}
        self.verdicts: dict[str, Counter[str]] = {}

    def chips(self) -> Iterator[Chip]:
        for date, scenes in groupby(self.unit.tile.scenes, key=lambda scene: scene.date):
            wanted = [(w, k) for w in self.windows if (k := w.series.frame(date)) is not None]
            best: dict[int, tuple[float, float, str]] = {}
            for scene in scenes if wanted else ():
                try:
                    self._look(scene, wanted, best)
                except BadScene as error:
                    if self.data.on_bad_scene == "refuse":
                        raise UserError(
                            scene.path, str(error), do="repair or remove it, or set data.on_bad_scene=skip"
                        ) from error
                    self.failed[scene.path] = str(error)
            for index, (window, frame) in enumerate(wanted):
                if index not in best:
                    continue
                cloudy, unmeasured, name = best[index]
                window.facts[frame] = (1 - unmeasured, cloudy, name)
                if dates := window.series.take(date):
                    window.chips += 1
                    yield self._chip(window, dates)

    def _look(
        self, scene: Scene, wanted: list[tuple[_Window, int]], best: dict[int, tuple[float, float, str]]
    ) -> None:
        """Put a scene into the frames of the windows in which it is usable and better than another of the day."""
        import numpy as np

        data, grid = self.data, self.unit.tile.grid
        mask = read_mask(scene, grid, self.top, self.end)
        verdicts = Counter[str]()
        clear: list[tuple[int, float]] = []
        for index, (window, _) in enumerate(wanted):
            cloudy = float(np.mean(mask[0][self._part(window)])) if mask else float("nan")
            measured = float(np.mean(mask[1][self._part(window)])) if mask else 1.0
            if measured < data.min_valid:
                verdicts[UNMEASURED] += 1
                window.seen[UNMEASURED] += 1
            elif cloudy > data.max_cloud:
                verdicts[CLOUDED] += 1
                window.seen[CLOUDED] += 1
            else:
                clear.append((index, cloudy))
        pixels = read_bands(scene, grid, self.top, self.end) if clear else None
        for index, cloudy in clear:
            assert pixels is not None
            window, frame = wanted[index]
            part = self._part(window)
            piece = pixels[:, part[0], part[1]]
            known = (piece != NODATA).all(axis=0)
            if mask:
                known &= mask[1][part]
            unmeasured = 1 - float(np.mean(known))
            usable = 1 - unmeasured >= data.min_valid
            verdicts["usable" if usable else UNMEASURED] += 1
            window.seen["usable" if usable else UNMEASURED] += 1
            score = (cloudy, unmeasured, scene.name)
            if usable and (index not in best or _order(score) < _order(best[index])):
                best[index] = score
                window.pixels[frame] = piece if not mask else np.where(mask[1][part], piece, np.int16(NODATA))
        self.verdicts[scene.path] = verdicts

    def _part(self, window: _Window) -> tuple[slice, slice]:
        size = self.data.chip_size
        row, column = window.row * size - self.top, window.column * size
        return slice(row, row + size), slice(column, column + size)

    def _chip(self, window: _Window, dates: Any) -> Chip:
        grid, size = self.unit.tile.grid, self.data.chip_size
        ground = self.unit.grounds[window.row, window.column]
        left = grid.left + window.column * size * grid.resolution
        top = grid.top - window.row * size * grid.resolution
        valid, cloudy, names = zip(*window.facts, strict=True)
        return Chip(
            window.pixels,
            dates,
            ground.latitude,
            ground.longitude,
            grid.epsg,
            (grid.resolution, 0.0, left, 0.0, -grid.resolution, top),
            valid,
            cloudy,
            ground.place,
            names,
        )

    def report(self) -> Report:
        without = Counter[str]()
        for window in self.windows:
            if not window.chips:
                usable = window.seen.pop("usable", 0)
                most = max(sorted(window.seen), key=lambda reason: window.seen[reason], default=FEW_DATES)
                without[f"windows {FEW_DATES if usable else most}"] += 1
        return Report(
            sum(window.chips for window in self.windows),
            self.failed,
            {name: dict(sorted(found.items())) for name, found in self.verdicts.items()},
            dict(sorted(without.items())),
        )


def _order(score: tuple[float, float, str]) -> tuple[float, float, str]:
    """Return the sorting key of a score: fewest clouds (none without a mask), most measured pixels, first name."""
    cloudy, unmeasured, name = score
    return (0.0 if cloudy != cloudy else cloudy, unmeasured, name)
