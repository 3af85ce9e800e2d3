"""What is known of a scene: one acquisition of one tile."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from slipway.data.imagery.chip import Date

Format = Literal["hls", "sentinel2", "raster", "cube"]
MaskKind = Literal["fmask", "scl"]


class BadScene(Exception):
    """A scene cannot be read as it should; says why, a phrase that follows its name."""


class Candidate(NamedTuple):
    """What file names tell of a scene; of a cube: of all its scenes."""

    name: str
    """Of the acquisition, the same wherever the files lie."""
    path: str
    """For people: the folder or the file."""
    tile: str
    """Scenes of a tile share a grid."""
    date: Date | None
    """None where only the content tells."""
    format: Format
    files: tuple[tuple[str, str], ...]
    """Path of each band, by meaning, and of the mask, by its kind; of rasters and cubes: ("", path)."""
    offsets: tuple[tuple[str, float], ...] = ()
    """By band: what is added to the stored numbers."""
    bytes: int = 0


class Layer(NamedTuple):
    """Where the numbers of one band, or of a mask, are stored."""

    path: str
    index: int
    """Of the band: from 1 in rasters, from 0 in cubes, where -1 is a variable without bands."""
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
    """Where the pixels of a scene lie: what scenes of a tile must agree in."""

    epsg: int
    left: float
    top: float
    width: float
    """In metres, as the height."""
    height: float
    resolution: float
    """The finest of its bands'."""

    def __str__(self) -> str:
        return (
            f"EPSG:{self.epsg}, {self.width / self.resolution:g} x {self.height / self.resolution:g} pixels of "
            f"{self.resolution:g} m from {self.left:.10g}, {self.top:.10g}"
        )


@dataclass(frozen=True)
class Scene:
    """One acquisition of one tile, its headers read."""

    name: str
    path: str
    tile: str
    date: Date
    footprint: Footprint
    layers: tuple[Layer, ...]
    """By band, in the order of data.bands."""
    mask: Layer | None
    mask_kind: MaskKind | None
    bytes: int
