"""metrics.jsonl, the truth about the course of a run, and its mirrors."""
