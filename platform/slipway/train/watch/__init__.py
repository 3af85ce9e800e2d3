"""Ranks that hang, and ranks that lag."""
