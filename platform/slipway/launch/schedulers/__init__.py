"""The states of launched jobs, from squeue, sacct and kubectl, and ways to end and follow jobs. Imports no torch."""
