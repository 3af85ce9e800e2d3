"""`slipway export` and `slipway import`: checkpoints as files of other libraries, and such files as checkpoints.

A family knows the names and the layout of numbers in a format (slipway.models.formats), an engine how a checkpoint
holds tensors. What they have in common is here: names and shapes are compared before anything is written, numbers pass
tensor by tensor, and a file that exists is complete.
"""
