"""`slipway doctor`: check whether this node, this job and this image are fit to train. Only probe.py imports torch."""
