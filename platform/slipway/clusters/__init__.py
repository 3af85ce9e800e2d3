"""The cluster profiles: found, read, shown by `slipway clusters`. Imports no torch."""
