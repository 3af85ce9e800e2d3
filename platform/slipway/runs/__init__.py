"""The ledger of runs: one record per segment, who trains a run now, and `slipway runs`. Imports no torch."""
