"""`slipway evaluate`: a run's checkpoint in one process, and what its family finds out of it."""
