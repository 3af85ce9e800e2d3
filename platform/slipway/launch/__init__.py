"""The way from a plan to what a scheduler takes, and to the scheduler itself. Imports no torch."""
