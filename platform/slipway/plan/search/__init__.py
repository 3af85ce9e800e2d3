"""`slipway plan search` and `parallelism=auto`: every layout of a run, evaluated in milliseconds. Imports no torch."""
