"""From a plan to what a scheduler takes, and to the scheduler. Imports no torch."""
