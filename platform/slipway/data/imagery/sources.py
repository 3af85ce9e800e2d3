"""One source of scenes on its way to parts: found, inspected, put on grids, cut into units of work."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import USELESS
from slipway.data.imagery.scenes.ground import Ground
from slipway.data.imagery.scenes.model import Scene
from slipway.data.imagery.scenes.products import Skipped
from slipway.data.imagery.scenes.survey import Survey
from slipway.data.imagery.scenes.tiles import Tile, Unit, apart, group, units
from slipway.errors import UserError

UNIT_MEMORY = 256 << 20
"""Approximate bytes of the chips that a process holds at once; the same value gives the same files."""
SHARED = "windows between places on ground of several tiles"
_TOGETHER = 16  # candidates


@dataclass
class Prepared:
    """The facts about a source before it is cut."""

    survey: Survey
    tiles: list[Tile]
    skipped: list[Skipped]
    grounds: list[tuple[Ground, Mapping[tuple[int, int], Ground]]] = field(default_factory=list)
    """For each tile, its ground and that of its windows by row and column."""
    chips_left_out: Counter[str] = field(default_factory=Counter)

    @property
    def scenes(self) -> int:
        """The number of scenes on the grids of their tiles."""
        return sum(len(tile.scenes) for tile in self.tiles)


def inspect_source(name: str, data: Data, found: Survey, pool: ProcessPoolExecutor) -> Prepared:
    """Read the headers of all scenes and return them on the grids of their tiles.

    Raises UserError if a bad scene is refused, or no scene is left.
    """
    from slipway.data.imagery.scenes.inspect import inspect, locate

    source, all_of_them = data.sources[name], found.candidates
    pieces = [all_of_them[i : i + _TOGETHER] for i in range(0, len(all_of_them), _TOGETHER)]
    futures = [pool.submit(inspect, piece, data, source) for piece in pieces]
    scenes: list[Scene] = []
    skipped = list(found.bad)
    for future in futures:
        inspected = future.result()
        scenes += inspected.scenes
        skipped += inspected.bad
    tiles, elsewhere = group(scenes, data.resolution, data.chip_size)
    skipped = sorted(skipped + elsewhere)
    if skipped and data.on_bad_scene == "refuse":
        raise refusal(skipped)
    if not tiles:
        raise UserError(
            f"data.sources.{name}",
            f"has no usable scene among {len(skipped)}: {_some(skipped)}",
            do="repair one of them, or name other scenes",
        )
    located = [pool.submit(locate, tile.grid, data.chip_size) for tile in tiles]
    grounds = []
    for tile, future in zip(tiles, located, strict=True):
        whole, windows = future.result()
        columns = tile.grid.width // data.chip_size
        grounds.append((whole, {divmod(i, columns): ground for i, ground in enumerate(windows)}))
    return Prepared(found, tiles, skipped, grounds)


def refusal(skipped: Sequence[Skipped]) -> UserError:
    """Return the error for bad scenes if data.on_bad_scene is `refuse`."""
    more = f" ({len(skipped) - 1} more scenes are bad)" if len(skipped) > 1 else ""
    return UserError(
        skipped[0].path, f"{skipped[0].reason}{more}", do="repair or remove it, or set data.on_bad_scene=skip"
    )


def set_apart(sources: Iterable[Prepared]) -> None:
    """Leave out windows of all sources so that places share no ground (slipway.data.imagery.scenes.tiles.apart)."""
    of_tile = [(source, i) for source in sources for i in range(len(source.tiles))]
    kept, _ = apart([source.grounds[i] for source, i in of_tile])
    for (source, i), windows in zip(of_tile, kept, strict=True):
        whole, before = source.grounds[i]
        source.grounds[i] = whole, windows
        source.chips_left_out[SHARED] += len(before) - len(windows)


def check_resolution(sources: Mapping[str, Prepared]) -> None:
    """Raise UserError if chips of a data set would have pixels of different sizes."""
    found = {tile.grid.resolution: (name, tile.name) for name, one in sources.items() for tile in one.tiles}
    if len(found) > 1:
        listed = "; ".join(f"{size:g} m in {name}, {tile}" for size, (name, tile) in sorted(found.items()))
        raise UserError(
            "data.resolution",
            f"is not set, and the finest bands have different ones: {listed}",
            use=f"{max(found):g}",
        )


def units_of(source: Prepared, data: Data) -> list[Unit]:
    """Return the units of work, in the order of their parts."""
    size = Layout(data.num_frames, len(data.bands), data.chip_size).pixel_bytes
    return [
        unit
        for tile, (_, windows) in zip(source.tiles, source.grounds, strict=True)
        for unit in units(tile, windows, data.chip_size, size, UNIT_MEMORY)
    ]


def judge(source: Prepared, parts: Sequence[Path]) -> None:
    """Add the outcomes in its parts' reports to the source.

    These are scenes that failed or were of no use, and windows without chips.
    """
    from slipway.data.imagery.scenes.cut import read_report

    verdicts: dict[str, Counter[str]] = {}
    failed: dict[str, str] = {}
    for part in parts:
        report = read_report(part)
        failed |= {path: reason for path, reason in report.failed.items() if path not in failed}
        source.chips_left_out.update(report.windows)
        for path, found in report.verdicts.items():
            verdicts.setdefault(path, Counter()).update(found)
    useless = [
        Skipped(path, f"{USELESS}: {', '.join(f'{count} {why}' for why, count in sorted(found.items()))}")
        for path, found in verdicts.items()
        if found and not found["usable"] and path not in failed
    ]
    source.skipped = sorted([*source.skipped, *(Skipped(*one) for one in failed.items()), *useless])


def _some(skipped: Sequence[Skipped], most: int = 3) -> str:
    listed = "; ".join(f"{one.path} {one.reason}" for one in skipped[:most])
    return listed + (f"; and {len(skipped) - most} more" if len(skipped) > most else "")
