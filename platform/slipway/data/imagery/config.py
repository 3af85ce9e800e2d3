"""The fields of conf/data/*.yaml for the kind `imagery`."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import DataSection, Folder, SourceName, SourceSection

Band = Literal[
    "coastal",
    "blue",
    "green",
    "red",
    "red_edge_1",
    "red_edge_2",
    "red_edge_3",
    "nir_broad",
    "nir_narrow",
    "water_vapour",
    "cirrus",
    "swir_1",
    "swir_2",
    "thermal_1",
    "thermal_2",
    "vv",
    "vh",
    "elevation",
    "ndvi",
]
"""Bands by what they measure: products number them differently (HLS: B05 of L30 is B8A of S30)."""


class Source(SourceSection):
    """One source of scenes or of chips."""

    inputs: list[str] = Field(
        min_length=1,
        description="Files or folders; `generated` stands for scenes that Slipway generates for demonstrations.",
    )
    format: Literal["auto", "hls", "sentinel2", "raster", "cube", "terramesh"] = Field(
        default="auto",
        description="hls, sentinel2: folders of granules as they are distributed; raster: one GeoTIFF per date with "
        "named bands; cube: Zarr or NetCDF (time, band, y, x); terramesh: shards that are read as they are, of "
        "folders such as TerraMesh/train/S2L2A; auto: by what is found, but not terramesh.",
    )
    names: dict[str, Band | Literal["fmask", "scl"]] = Field(
        default={},
        description="Names of bands and masks in rasters and cubes, such as {B04: red, SCL: scl}; a raster's band "
        "without a description is called by its number, from 1. Without this, Slipway's own names are "
        "expected.",
    )
    scale: PositiveFloat | None = Field(
        default=None,
        description="Factor from the values of rasters and cubes to the integers of chips, such as 10000 for "
        "reflectance; null: integers are used as stored, and floats are refused.",
    )


class Config(DataSection):
    """Sources of scenes, cut to chips by `slipway data` into dir, read by training."""

    kind: Literal["imagery"] = Field(default="imagery", description="Image time series.")
    dir: Folder = Field(
        description="Folder of the prepared data: manifest.json and the shards of each source."
    )
    bands: tuple[Band, ...] = Field(min_length=1, description="Bands of a chip, in this order.")
    num_frames: PositiveInt = Field(description="Dates of a chip, in chronological order.")
    gap_days: tuple[NonNegativeInt, PositiveInt] = Field(
        default=(30, 180), description="Fewest and most days from one date of a chip to the next."
    )
    chip_size: PositiveInt = Field(description="Height and width of a chip, in pixels.")
    crop_size: PositiveInt | None = Field(
        default=None,
        description="Height and width, in pixels, of the random crop that training takes from a chip; null: the "
        "whole chip.",
    )
    flip: bool = Field(default=False, description="Flip and rotate chips at random in training.")
    resolution: PositiveFloat | None = Field(
        default=None,
        description="Resolution to which all bands are resampled, metres per pixel; null: that of the finest "
        "band.",
    )
    min_valid: float = Field(
        default=0.99, ge=0.0, le=1.0, description="Smallest share of measured pixels at each date."
    )
    max_cloud: float = Field(
        default=0.2, ge=0.0, le=1.0, description="Largest share of clouds and shadows at each date."
    )
    on_bad_scene: Literal["skip", "refuse"] = Field(
        default="skip",
        description="What to do with scenes that cannot be read correctly: skip them and name them, or refuse "
        "all.",
    )
    sources: dict[SourceName, Source] = Field(
        min_length=1, description="Sources by name; their prepared files carry the same name."
    )
    split: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = Field(
        default=(0.98, 0.01, 0.01), description="Shares of the places for training, validation and test."
    )
    mean: tuple[float, ...] | None = Field(
        default=None,
        description="Mean of each band, subtracted from the pixels; null: computed from the prepared training "
        "chips.",
    )
    std: tuple[PositiveFloat, ...] | None = Field(
        default=None,
        description="Standard deviation of each band, by which pixels are divided; null: computed from the "
        "prepared training chips.",
    )
    shard_size: PositiveInt = Field(default=2_000_000_000, description="Approximate size of a shard, bytes.")
    workers: PositiveInt | None = Field(
        default=None, description="Processes that prepare data; null: one per core."
    )


def imagery_of(config: RunConfig) -> Config:
    """Return the section `data` of a run that reads imagery."""
    assert isinstance(config.data, Config), f"data.kind is {config.data.kind}"
    return config.data
