"""States of launched jobs, asked from squeue, sacct and kubectl; also cancels and follows jobs. Imports no torch."""
