"""What became of launched jobs: asks squeue, sacct and kubectl; reads, ends and follows jobs. Imports no torch."""
