"""Names of events in metrics.jsonl that one part of Slipway writes and another reads. Imports no torch."""

COLLAPSE, RECOVERY = "collapse", "collapse over"
"""Events of routing, written by the guard (slipway.train.guard)."""
