"""The image that launched runs use, where a test starts them."""

from container_fixtures import clone, image, sif, work

__all__ = ["clone", "image", "sif", "work"]
