"""Tiles: the scenes of one grid, in the order of time, and the windows that are cut out of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from slipway.data.imagery.scenes.ground import Ground
from slipway.data.imagery.scenes.model import Footprint, Scene
from slipway.data.imagery.scenes.products import Skipped


class Grid(NamedTuple):
    """The pixels of a tile's chips; north is above."""

    epsg: int
    left: float
    top: float
    resolution: float
    width: int
    height: int


class Tile(NamedTuple):
    """Scenes of one grid."""

    name: str
    grid: Grid
    scenes: tuple[Scene, ...]
    """In the order of dates, then of names."""


class Unit(NamedTuple):
    """The rows of a tile's windows that one process cuts at a time, at all dates."""

    tile: Tile
    first: int
    """The first row of windows."""
    end: int
    grounds: Mapping[tuple[int, int], Ground]
    """The ground of each window that is cut, by row and column."""
    bytes: int
    """The size of the inputs, for progress."""


def group(
    scenes: Iterable[Scene], resolution: float | None, chip_size: int
) -> tuple[list[Tile], list[Skipped]]:
    """Put the scenes of each tile on one grid, that of most of them.

    Returns the tiles, and the scenes that are skipped, with reasons.
    """
    by_tile: dict[str, list[Scene]] = {}
    for scene in sorted(scenes, key=lambda one: (one.tile, one.date, one.name)):
        by_tile.setdefault(scene.tile, []).append(scene)
    tiles: list[Tile] = []
    skipped: list[Skipped] = []
    for name, members in by_tile.items():
        # of equally many the one that comes first in time
        common = Counter(one.footprint for one in members).most_common(1)[0][0]
        grid = _grid(common, resolution)
        kept = [one for one in members if one.footprint == common]
        for one in members:
            if one.footprint != common:
                skipped.append(Skipped(one.path, f"lies on {one.footprint}, but tile {name} on {common}"))
        if min(grid.width, grid.height) < chip_size:
            size = f"{grid.height} x {grid.width} pixels of {grid.resolution:g} m"
            skipped += [Skipped(one.path, f"has {size}, less than a chip of {chip_size}") for one in kept]
        else:
            tiles.append(Tile(name, grid, tuple(kept)))
    return tiles, skipped


def _grid(footprint: Footprint, resolution: float | None) -> Grid:
    pixel = resolution or footprint.resolution
    width, height = (int(length / pixel + 1e-6) for length in (footprint.width, footprint.height))
    return Grid(footprint.epsg, footprint.left, footprint.top, pixel, width, height)


def units(
    tile: Tile, grounds: Mapping[tuple[int, int], Ground], chip_size: int, chip_bytes: int, memory: int
) -> list[Unit]:
    """Return the rows of a tile's windows in units whose chips fit into so much memory, with at least a row each."""
    rows, columns = tile.grid.height // chip_size, tile.grid.width // chip_size
    together = max(1, memory // (columns * chip_bytes))
    size = sum(scene.bytes for scene in tile.scenes)
    found = []
    for first in range(0, rows, together):
        end = min(first + together, rows)
        chosen = {window: ground for window, ground in grounds.items() if first <= window[0] < end}
        found.append(Unit(tile, first, end, chosen, size * end // rows - size * first // rows))
    return found


def apart(
    tiles: Sequence[tuple[Ground, Mapping[tuple[int, int], Ground]]],
) -> tuple[list[dict[tuple[int, int], Ground]], int]:
    """Leave out windows so that chips of different places share no ground; return the rest, and how many are left out.

    Chips of one tile do not overlap, those of different tiles may. Two that do have the same place if each lies in one
    cell; so of the windows that another tile may share, those that lie in several cells are left out.
    """
    near: list[list[Ground]] = [[] for _ in tiles]
    from_south = sorted(range(len(tiles)), key=lambda i: tiles[i][0].south)
    for place, i in enumerate(from_south):
        one = tiles[i][0]
        for k in from_south[place + 1 :]:
            other = tiles[k][0]
            if other.south > one.north + 1:  # `meets` decides
                break
            if one.meets(other):
                near[i].append(other)
                near[k].append(one)
    kept = [
        {
            window: ground
            for window, ground in windows.items()
            if ground.is_in_one_cell or not any(ground.meets(other) for other in others)
        }
        for (_, windows), others in zip(tiles, near, strict=True)
    ]
    return kept, sum(len(windows) for _, windows in tiles) - sum(map(len, kept))
