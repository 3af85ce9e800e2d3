"""Launching: from a plan to what a scheduler accepts, and to the scheduler itself. Imports no torch."""
