"""`slipway generate`: what a run's model says."""
