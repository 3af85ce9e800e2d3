"""The lock of a run directory: one run, one trainer."""
