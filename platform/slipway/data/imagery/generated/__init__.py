"""Scenes that the project generates, so that every machine has imagery: `scene`, and `granules` to write them."""

from slipway.data.imagery.generated.land import CLASSES
from slipway.data.imagery.generated.scene import BANDS, Scene, scene

__all__ = ["BANDS", "CLASSES", "Scene", "scene"]
