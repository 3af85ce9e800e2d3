"""The submission of what was rendered to a scheduler, and its record beside each run."""
