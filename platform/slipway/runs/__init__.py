"""The ledger of runs (one record per segment), the lock of a run, and `slipway runs`. Imports no torch."""
