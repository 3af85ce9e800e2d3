"""TerraMesh's folder names, and the bands of the arrays in each.

Jakubik et al. 2025, "TerraMesh: A Planetary Mosaic of Multimodal Earth Observation Data", and the data set's card.
"""

from slipway.data.imagery.config import Band
from slipway.data.kind import Split

SIZE = 264
"""Rows and columns of every sample."""
PIXEL_METRES = 10.0

_TO_WATER_VAPOUR: tuple[Band, ...] = (
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
)
MODALITIES: dict[str, tuple[Band, ...]] = {
    "S2L2A": (*_TO_WATER_VAPOUR, "swir_1", "swir_2"),
    "S2L1C": (*_TO_WATER_VAPOUR, "cirrus", "swir_1", "swir_2"),
    "S2RGB": ("red", "green", "blue"),
    "S1GRD": ("vv", "vh"),
    "S1RTC": ("vv", "vh"),
    "DEM": ("elevation",),
    "NDVI": ("ndvi",),
}
"""Bands of each folder's arrays, in their order; land cover (LULC) is classes, no image."""

SPLITS: dict[str, Split] = {"train": "training", "val": "validation", "test": "test"}
"""The split of a folder's samples, by the name of the folder above it."""
