"""The facts about a scene, which is one acquisition of one tile."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from slipway.data.imagery.chip import Date

Format = Literal["hls", "sentinel2", "raster", "cube"]
MaskKind = Literal["fmask", "scl"]


class BadScene(Exception):
    """A scene cannot be read as it should; the message is a phrase that follows its name."""


class Candidate(NamedTuple):
    """The facts that file names tell about a scene, or about all scenes of a cube."""

    name: str
    """The acquisition's name, the same wherever the files are."""
    path: str
    """The folder or file, for people."""
    tile: str
    """The name of the tile; scenes of a tile share a grid."""
    date: Date | None
    """The day; None if only the content tells."""
    format: Format
    files: tuple[tuple[str, str], ...]
    """The path of each band, by meaning, and of the mask, by its kind; for rasters and cubes ("", path)."""
    offsets: tuple[tuple[str, float], ...] = ()
    """For each band, what is added to the stored numbers."""
    bytes: int = 0


class Layer(NamedTuple):
    """The place where the numbers of one band, or of a mask, are stored."""

    path: str
    index: int
    """The band's number: from 1 in rasters, from 0 in cubes, where -1 is a variable without bands."""
    resolution: float
    """Metres per pixel."""
    width: int
    height: int
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    """A chip's number is the stored one x scale + offset, rounded."""
    variable: str = ""
    time: int = 0


class Footprint(NamedTuple):
    """The place of a scene's pixels, in which the scenes of a tile must agree."""

    epsg: int
    left: float
    top: float
    width: float
    """The width in metres, like the height."""
    height: float
    resolution: float
    """The finest resolution of the bands."""

    def __str__(self) -> str:
        return (
            f"EPSG:{self.epsg}, {self.width / self.resolution:g} x {self.height / self.resolution:g} pixels of "
            f"{self.resolution:g} m from {self.left:.10g}, {self.top:.10g}"
        )


@dataclass(frozen=True)
class Scene:
    """One acquisition of one tile, with its headers read."""

    name: str
    path: str
    tile: str
    date: Date
    footprint: Footprint
    layers: tuple[Layer, ...]
    """The layers of the bands, in the order of data.bands."""
    mask: Layer | None
    mask_kind: MaskKind | None
    bytes: int
