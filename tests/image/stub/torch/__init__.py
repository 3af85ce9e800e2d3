"""A torch in name only."""

__version__ = "2.13.0a0+stub"
