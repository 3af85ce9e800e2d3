"""One run, one trainer: the lock of a run directory."""
