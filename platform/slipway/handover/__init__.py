"""`slipway export` and `slipway import`: checkpoints as files of other libraries, and such files as checkpoints.

What a format is called and how it lays out numbers is the family's matter (slipway.models.formats); how a checkpoint
holds tensors is the engine's. Here is what they have in common: names and shapes are compared before anything is
written, numbers pass tensor by tensor, and a file that is there is whole.
"""
