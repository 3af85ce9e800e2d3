"""Tasks of lm-evaluation-harness, run by that library (extra `evaluation`) on the models of a run's checkpoints."""
