"""What a run achieved, from its metrics.jsonl: a table, a picture and a page. Needs no torch."""
