"""Tasks of lm-evaluation-harness on a run's checkpoints: its own library (extra `evaluation`), our models."""
