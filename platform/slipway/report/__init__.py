"""What a run achieved, from its metrics.jsonl: a table and a picture. Needs no torch."""
