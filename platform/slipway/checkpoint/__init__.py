"""Looking at a run's checkpoints from anywhere: list, verify, show. Needs no torch."""
