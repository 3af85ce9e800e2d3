"""Watches for ranks that hang, and ranks that lag."""
