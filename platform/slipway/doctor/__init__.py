"""`slipway doctor`: is this node, this job, this image fit to train? Only probe.py imports torch."""
