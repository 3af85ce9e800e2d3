"""The cluster profiles: how they are found, read, and shown by `slipway clusters`. Imports no torch."""
