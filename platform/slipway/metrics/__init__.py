"""metrics.jsonl, the authoritative record of a run's course, and its mirrors."""
