"""`slipway evaluate`: load a run's checkpoints into one process and measure the models."""
