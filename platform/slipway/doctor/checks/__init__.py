"""The checks of one node."""
